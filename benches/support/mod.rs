//! What the demo and the benchmarks share: Fairlane as a child, CPU time and memory of processes.

#[allow(dead_code, reason = "not every benchmark looks at it")]
pub(crate) mod cpu;
#[allow(dead_code, reason = "not every benchmark asks for its numbers")]
pub(crate) mod fairlane;
#[allow(dead_code, reason = "not every benchmark looks at memory")]
pub(crate) mod memory;
