//! The memory that all loops of the process may hold for their connections and queues.
//!
//! Each loop has a share, which it alone sets, once in a turn; the budget has the sum of all shares. A share
//! ends with its loop, however that ends.

use super::sync::{AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Warnings are no more frequent than this.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

pub struct Budget {
    limit: AtomicUsize,
    used: AtomicUsize,
    /// Held by the loop that frees memory: one at a time, so that no more is freed than is too much.
    pub relief: Mutex<Relief>,
}

/// The connections that were closed since the last warning.
#[derive(Default)]
pub struct Relief {
    warned: Option<Instant>,
    closed: usize,
}

impl Relief {
    /// Counts a connection that was closed.
    pub fn count(&mut self) {
        self.closed += 1;
    }

    /// How many were closed since the last warning, if there are some and it is time for another.
    pub fn due(&mut self, now: Instant) -> Option<usize> {
        let may_warn = self.warned.is_none_or(|warned| now.duration_since(warned) >= WARNING_PAUSE);
        if self.closed == 0 || !may_warn {
            return None;
        }
        self.warned = Some(now);
        Some(std::mem::take(&mut self.closed))
    }
}

impl Budget {
    pub fn new(limit: usize) -> Self {
        let (limit, used) = (AtomicUsize::new(limit), AtomicUsize::new(0));
        Budget { limit, used, relief: Mutex::default() }
    }

    /// That of the process. Its first use reads how much memory there is.
    pub fn of_process() -> Arc<Budget> {
        static PROCESS: LazyLock<Arc<Budget>> = LazyLock::new(|| Arc::new(Budget::new(available() / 4)));
        PROCESS.clone()
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn is_over(&self) -> bool {
        self.used() > self.limit()
    }

    /// Whether more than a quarter too much is held.
    pub fn is_far_over(&self) -> bool {
        let limit = self.limit();
        self.used() > limit.saturating_add(limit / 4)
    }
}

/// The part of one loop.
pub struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Share {
    pub fn new(budget: Arc<Budget>) -> Self {
        Share { budget, held: 0 }
    }

    pub fn set(&mut self, held: usize) {
        if held != self.held {
            self.budget.used.fetch_add(held.wrapping_sub(self.held), Ordering::Relaxed);
            self.held = held;
        }
    }

    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The memory of the machine, or of the control group that the process is in, if that has less.
fn available() -> usize {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let machine = machine_memory(&read(Path::new("/proc/meminfo")));
    let groups = read(Path::new("/proc/self/cgroup"));
    let root = Path::new("/sys/fs/cgroup");
    let limits = limit_files(&groups).filter_map(|file| read(&root.join(file)).trim().parse().ok());
    limits.chain(machine).min().unwrap_or(DEFAULT_MEMORY)
}

/// Where the machine does not say how much it has.
const DEFAULT_MEMORY: usize = 4 << 30;

fn machine_memory(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files, below `/sys/fs/cgroup`, that may hold a limit: of the group that `/proc/self/cgroup` names, of
/// those above it, and of the root, which is the group of the process itself in most containers. A limit that
/// is none is `max` (version 2) or a huge number (version 1).
fn limit_files(groups: &str) -> impl Iterator<Item = String> + '_ {
    let path_in = |prefix: &str, file: &str, path: &str| {
        let ancestors: Vec<_> = Path::new(path).ancestors().map(|each| each.display().to_string()).collect();
        let files =
            ancestors.into_iter().map(|each| format!("{prefix}{}/{file}", each.trim_end_matches('/')));
        files.map(|path| path.trim_start_matches('/').to_owned()).collect::<Vec<_>>()
    };
    groups.lines().flat_map(move |line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        match controllers.split(',').any(|name| name == "memory") {
            true => path_in("memory", "memory.limit_in_bytes", path),
            false if controllers.is_empty() => path_in("", "memory.max", path),
            false => Vec::new(),
        }
    })
}

#[cfg(all(test, loom))]
mod model {
    use super::super::sync::model::check;
    use super::*;
    use loom::thread;

    /// Whoever reads the sum meanwhile, on another loop, sees no less than nothing and no more than both
    /// hold.
    #[test]
    fn shares_that_are_set_and_end_at_the_same_time_leave_nothing() {
        check(|| {
            let budget = Arc::new(Budget::new(100));
            let loops = [[7, 30], [11, 5]].map(|amounts| {
                let mut share = Share::new(budget.clone());
                thread::spawn(move || amounts.into_iter().for_each(|held| share.set(held)))
            });
            assert!(budget.used() <= 30 + 11);
            loops.map(|each| each.join().expect("loop"));
            assert_eq!(budget.used(), 0);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_end_with_their_loops() {
        let budget = Arc::new(Budget::new(100));
        let (mut one, mut other) = (Share::new(budget.clone()), Share::new(budget.clone()));
        one.set(60);
        other.set(40);
        assert_eq!((budget.used(), budget.is_over()), (100, false));
        one.set(61);
        assert!(budget.is_over() && !budget.is_far_over());
        other.set(65);
        assert!(budget.is_far_over());
        drop(other);
        one.set(5);
        assert_eq!(budget.used(), 5);
        budget.set_limit(usize::MAX);
        assert!(!budget.is_far_over());
    }

    #[test]
    fn a_warning_tells_of_all_that_were_closed_and_comes_once_a_minute() {
        let (mut relief, now) = (Relief::default(), Instant::now());
        assert_eq!(relief.due(now), None);
        relief.count();
        relief.count();
        assert_eq!(relief.due(now), Some(2));
        relief.count();
        assert_eq!(relief.due(now + Duration::from_secs(59)), None);
        assert_eq!(relief.due(now + Duration::from_secs(60)), Some(1));
        assert_eq!(relief.due(now + Duration::from_secs(200)), None);
    }

    #[test]
    fn the_limits_of_both_versions_of_control_groups_are_found() {
        let files = |groups| limit_files(groups).collect::<Vec<_>>();
        assert_eq!(files("0::/\n"), ["memory.max"]);
        assert_eq!(
            files("0::/system.slice/app.service\n"),
            ["system.slice/app.service/memory.max", "system.slice/memory.max", "memory.max"]
        );
        assert_eq!(
            files("9:name=systemd:/\n4:cpu,memory:/docker/12\n1:cpu:/\n"),
            [
                "memory/docker/12/memory.limit_in_bytes",
                "memory/docker/memory.limit_in_bytes",
                "memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(machine_memory("MemFree: 3 kB\n"), None);
        assert_eq!(machine_memory("MemTotal:       24683960 kB\nMemFree: 3 kB\n"), Some(24_683_960 << 10));
        assert!(available() >= 16 << 20);
    }
}
