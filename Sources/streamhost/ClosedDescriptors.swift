// Standard descriptors that the process was started without.
import Glibc

/// Opens /dev/null for each of the descriptors 0 to 2 that is closed, in the mode that its use does not allow: reading
/// standard input or writing the others then fails with EBADF, as it should. Left closed, the next thing that the
/// process opens (a pipe of its own, a file of the script) would become its standard output. Before anything else opens one.
func occupyClosedDescriptors() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
        // The lowest free number is `descriptor`: those below are open by now.
        _ = open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY)
    }
}
