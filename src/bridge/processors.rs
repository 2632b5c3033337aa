//! What is different where the loop and JavaScript have but one processor between them.

/// By affinity, or by the quota of a container.
pub fn is_one() -> bool {
    std::thread::available_parallelism().is_ok_and(|count| count.get() == 1)
}

/// Makes the calling thread, the loop's, one that waits for JavaScript to sleep or to have had its slice of time (some 3 ms)
/// instead of interrupting it whenever woken: then what JavaScript asks of it is done in one go, with half the switches
/// between the two. Only where there is one processor, so nothing waits where there are more.
#[cfg(target_os = "linux")]
pub fn share_a_lone_one() {
    if is_one() {
        let no_priority = libc::sched_param { sched_priority: 0 };
        // SAFETY: the kernel reads the parameters during the call. A refusal leaves everything as it is.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &no_priority) };
    }
}

#[cfg(not(target_os = "linux"))]
pub fn share_a_lone_one() {}
