//! The figures that the process shows: their names and meaning (`table`), the counters (`counts`), the times
//! (`lag`, `processor_time`), and the texts that are made of a reading (`text`).
//!
//! Each set of counters has one thread that writes it, in cache lines of its own, with plain stores; any
//! thread may read it at any time without a lock. A reading is therefore no moment in time: one counter may
//! have been read before, another after the same event. Each by itself is exact, and a counter never
//! decreases.
#![forbid(unsafe_code)]

mod counts;
mod lag;
mod processor_time;
mod table;
mod text;

pub use counts::{Counts, Reading};
pub use lag::{Longest, now};
pub use processor_time::ProcessorTime;
pub use table::{FAMILIES, Family, Kind, Metric, Sample, Scope};
pub use text::{Format, render};
