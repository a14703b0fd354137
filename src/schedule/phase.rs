//! Where in its interval a job's grid lies.

use crate::provider::Unit;
use crate::words::Job;

/// 2^32 / the golden ratio: multiples of it, modulo 2^32, fall as far apart as they can (Knuth, TAOCP vol. 3, 6.4).
const GOLDEN: u32 = 0x9E37_79B9;

/// The phase of a job's grid, in 2^-32 of its interval.
///
/// Jobs whose calls serve one device each are spread evenly over the interval, by a multiplicative hash of their id:
/// consecutive ids, as an import makes them, land apart. Jobs that share calls share a phase, so that one call finds
/// all of them due.
pub fn phase(job: &Job, unit: Unit, batch_max: u32) -> u32 {
    let seed = match unit {
        Unit::Device => job.id.0,
        Unit::Batch => job.device.0 / i64::from(batch_max.max(1)),
        Unit::Group | Unit::Connection => {
            job.group.bytes().fold(job.connection.0, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()))
        }
    };
    // Truncation is meant: arithmetic modulo 2^32.
    (seed as u32).wrapping_mul(GOLDEN)
}
