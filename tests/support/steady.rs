//! Which rows answer two equal calls alike.

use synap_core::execute::Command;

/// What tells of the moment, of the server itself, or is made by chance.
const UNSTEADY: &[&str] = &[
    "ACL GENPASS",
    "ACL LOG",
    "APIKEY CREATE",
    "CLIENT INFO",
    "CLIENT LIST",
    "HRANDFIELD",
    "INFO",
    "LASTSAVE",
    "LATENCY DOCTOR",
    "LATENCY HISTOGRAM",
    "LATENCY HISTORY",
    "LATENCY LATEST",
    "LOLWUT",
    "MEMORY DOCTOR",
    "MEMORY MALLOC-STATS",
    "MEMORY STATS",
    "RANDOMKEY",
    "SLOWLOG GET",
    "SRANDMEMBER",
    "TIME",
    "ZRANDMEMBER",
];

pub fn is_steady(row: &Command) -> bool {
    !UNSTEADY.contains(&row.name)
}
