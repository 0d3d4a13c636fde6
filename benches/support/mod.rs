//! What the demo and the benchmarks share: Fairlane as a child, and the CPU time of processes.

pub(crate) mod cpu;
pub(crate) mod fairlane;
