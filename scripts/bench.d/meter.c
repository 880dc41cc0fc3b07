/*
 * meter COMMAND [ARGUMENT...]: runs it and writes one line to file descriptor 3: its status, wall seconds, user and
 * system seconds, peak of resident memory in KB. A small process of its own because the kernel counts into a peak what
 * the process held before its exec, and because a fork of this one takes no time to speak of.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec * 1e-6; }

int main(int argc, char **argv) {
    struct rusage usage;
    int status;
    if (argc < 2) {
        fputs("usage: meter COMMAND [ARGUMENT...] 3>RESULT\n", stderr);
        return 2;
    }
    fcntl(3, F_SETFD, FD_CLOEXEC);
    double began = now();
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[1], argv + 1);
        fprintf(stderr, "meter: %s: %s\n", argv[1], strerror(errno));
        _exit(127);
    }
    if (child < 0) {
        perror("meter: fork");
        return 1;
    }
    while (wait4(child, &status, 0, &usage) < 0) {
        if (errno != EINTR) {
            perror("meter: wait4");
            return 1;
        }
    }
    double wall = now() - began;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    dprintf(3, "%d %.6f %.6f %.6f %ld\n", code, wall, seconds(usage.ru_utime), seconds(usage.ru_stime),
            usage.ru_maxrss);
    return 0;
}
