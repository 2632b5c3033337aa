//! The clocks of threads.

use crate::metrics::ProcessorTime;

/// Counts the processor time of the calling thread.
#[cfg(target_os = "linux")]
pub fn begin(time: &ProcessorTime) {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the calling thread lives, and the function writes one number.
    let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    if error == 0 {
        time.begin(move || read(clock));
    }
}

/// Nanoseconds of a clock; 0 of one whose thread has ended.
#[cfg(target_os = "linux")]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel refuses a clock that is none, and otherwise writes the time.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
pub fn begin(_: &ProcessorTime) {}
