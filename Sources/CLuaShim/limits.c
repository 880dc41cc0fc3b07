/* Limits of a state, and of the values that it works on.
 *
 * What a value uses is not counted value by value but looked at: when its task begins to compute and when it stops, and
 * at each interrupt in between, which comes once a slice. What was used between two looks belongs to the values that were
 * there at both. So a value's CPU time is exact to about one slice, and one that is done within a slice costs nothing.
 *
 * Nothing here touches a lua_State but to arm its hook: no function has a stack effect and none raises, [-0, +0, -].
 */
#include "internal.h"
#include <stdio.h>
#include <time.h>

static inline int64_t get(const int64_t *use) { return __atomic_load_n(use, __ATOMIC_RELAXED); }

static void set_use(int64_t *used, int64_t *peak, int64_t value) {
    __atomic_store_n(used, value, __ATOMIC_RELAXED);
    if (value > get(peak)) __atomic_store_n(peak, value, __ATOMIC_RELAXED);
}

void shim_limit_use(const shim_limit *limit, int what, int64_t *used, int64_t *peak) {
    *used = get(what == SHIM_USE_CPU ? &limit->cpu_used : what == SHIM_USE_OUTPUT ? &limit->output_used
                                                                                   : &limit->time_used);
    *peak = get(what == SHIM_USE_CPU ? &limit->cpu_peak : what == SHIM_USE_OUTPUT ? &limit->output_peak
                                                                                   : &limit->time_peak);
}

int shim_vm_over(const shim_vm *vm) { return vm->over; }
bool shim_vm_is_spoilt(const shim_vm *vm) { return vm->spoilt; }
void shim_vm_set_max_value(shim_vm *vm, size_t bytes) { vm->max_value = bytes; }
void shim_vm_limit(shim_vm *vm, shim_driver *driver) { vm->limited = driver; }

void shim_vm_reprieve(shim_vm *vm, size_t more) {
    shim_allocator *a = &vm->allocator;
    if (a->limit != 0) a->limit = (a->used > a->limit ? a->used : a->limit) + more;
    vm->limited = NULL;
    vm->over = SHIM_OVER_NOTHING;
    atomic_fetch_and(&vm->control, ~(uint32_t)(SHIM_CONTROL_KILL | SHIM_CONTROL_MEMORY | SHIM_CONTROL_CANCEL |
                                               SHIM_CONTROL_DEADLINE));
}

void shim_exceed(shim_vm *vm, int over) {
    shim_driver *d = vm->limited;
    if (vm->over == SHIM_OVER_NOTHING) {
        vm->over = over;
        if (d != NULL) {
            d->overdue = true;
            d->fault = d->links != NULL ? d->current : 0;
        }
    }
    atomic_fetch_or(&vm->control, SHIM_CONTROL_KILL);
    if (shim_current == vm) shim_arm_hook(vm);
}

/* ---- What the host holds for the state ---- */

static void take_off(shim_vm *vm) {
    if (atomic_load_explicit(&vm->given_back, memory_order_relaxed) == 0) return;
    shim_allocator_uncharge(&vm->allocator, atomic_exchange(&vm->given_back, 0));
}

void shim_vm_charge(shim_vm *vm, size_t bytes) {
    take_off(vm);
    shim_allocator_charge(&vm->allocator, bytes);
}

void shim_vm_uncharge(shim_vm *vm, size_t bytes) { shim_allocator_uncharge(&vm->allocator, bytes); }
void shim_vm_give_back(shim_vm *vm, size_t bytes) { atomic_fetch_add(&vm->given_back, bytes); }

void shim_vm_set_queued(shim_vm *vm, size_t bytes) {
    shim_allocator_uncharge(&vm->allocator, vm->queued);
    vm->queued = bytes;
    shim_vm_charge(vm, bytes);
}

/* ---- What values use ---- */

static inline int length_of(const shim_driver *d) { return d->links != NULL ? d->length : 1; }

/* The task that runs works on the driver's values. */
static inline bool works(const shim_vm *vm, const shim_driver *d) { return d->process || d->owner == vm->base; }

/* A number that no other value of the stage has; 0: its function has none. */
static uint64_t value_of(const shim_driver *d, int link) {
    if (d->links != NULL && !(d->generates && link == 0)) return d->limits[link].active ? d->limits[link].turn : 0;
    if (d->process) return d->turn + 1;
    if (d->generates) return (d->links != NULL ? d->links[1].received : d->emitted) + 1; /* the one that it makes */
    return d->message != NULL ? d->received : 0;
}

/* The value that the stage has now is the one whose use is counted. False: it has none. */
static bool see(shim_driver *d, int link) {
    shim_limit *limit = &d->limits[link];
    uint64_t value = value_of(d, link);
    if (value == 0) return false;
    if (limit->seen != value) {
        limit->seen = value;
        __atomic_store_n(&limit->cpu_used, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&limit->output_used, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&limit->time_used, 0, __ATOMIC_RELAXED);
    }
    return true;
}

static int64_t thread_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

bool shim_look(shim_vm *vm, bool starts) {
    shim_driver *d = vm->limited;
    bool works_on = works(vm, d);
    int64_t cpu = 0, spent = 0, now = -1;
    for (int link = length_of(d) - 1; link >= 0; link--) {
        shim_limit *limit = &d->limits[link];
        if (limit->cpu != 0 && cpu == 0) {
            cpu = thread_time();
            spent = starts || !works_on ? 0 : cpu - vm->cpu_since;
            vm->cpu_since = cpu;
        }
        uint64_t seen = limit->seen;
        if (!works_on || !see(d, link)) continue;
        if (limit->deadline != 0) {
            if (now < 0) now = vm->host->clock(vm);
            set_use(&limit->time_used, &limit->time_peak, now - (limit->deadline - limit->timeout));
        }
        if (limit->cpu == 0 || seen != limit->seen) continue;
        set_use(&limit->cpu_used, &limit->cpu_peak, get(&limit->cpu_used) + spent);
        if (limit->cpu_used > limit->cpu && vm->over == SHIM_OVER_NOTHING) {
            shim_exceed(vm, SHIM_OVER_CPU);
            d->fault = link;
        }
    }
    return vm->over != SHIM_OVER_NOTHING;
}

bool shim_is_interrupted(shim_vm *vm) {
    atomic_store_explicit(&vm->interrupted, false, memory_order_relaxed);
    if (!shim_has_limits(vm)) return false;
    if (shim_look(vm, false)) return true;
    if (!shim_value_is_overdue(vm)) return false;
    atomic_fetch_or(&vm->control, SHIM_CONTROL_KILL);
    return true;
}

bool shim_count_output(shim_vm *vm, size_t bytes) {
    shim_driver *d = vm->limited;
    if (!shim_has_limits(vm) || !works(vm, d)) return true;
    /* Of stages that share a worker those behind have no value any more when the last one's result leaves. */
    for (int link = length_of(d) - 1; link >= 0; link--) {
        shim_limit *limit = &d->limits[link];
        if (limit->output == 0 || !see(d, link)) continue;
        set_use(&limit->output_used, &limit->output_peak, limit->output_used + (int64_t)bytes);
        if (limit->output_used > limit->output) {
            shim_exceed(vm, SHIM_OVER_OUTPUT);
            d->fault = link;
            return false;
        }
    }
    return true;
}

/* ---- The size of a message ---- */

/* "64MB": in the unit that a person would write. */
static int write_size(char *text, size_t room, size_t bytes) {
    static const char *units[] = {"", "KB", "MB", "GB"};
    int unit = 0;
    while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) bytes /= 1024, unit++;
    return snprintf(text, room, "%zu%s", bytes, unit == 0 ? " bytes" : units[unit]);
}

const char *shim_too_large(const shim_vm *vm, char *text) {
    int used = snprintf(text, 160, "the value is larger than ");
    used += write_size(text + used, 160 - (size_t)used, vm->encode_bound);
    if (vm->encode_bound == vm->max_value)
        snprintf(text + used, 160 - (size_t)used, ", the most that max_value allows");
    return text;
}

bool shim_make_room(lua_State *L, shim_buffer *out, size_t n) {
    if (out->capacity - out->used >= n) return true;
    size_t end = vm_of(L)->encode_end;
    if (n > end || out->used > end - n) return false;
    return !shim_gives_up(L, out) && shim_buffer_reserve(out, n);
}

const char *shim_no_room(lua_State *L, const shim_buffer *out, size_t n, char *text) {
    size_t end = vm_of(L)->encode_end;
    if (n > end || out->used > end - n) return shim_too_large(vm_of(L), text);
    return shim_gives_up(L, out) ? "canceled" : "not enough memory";
}
