//! That a call has ended, for those who wait for the end of a refresh.

use crate::words::DeviceId;
use std::fmt;

/// A message on the channel of a tenant's changes: a call for a device has ended, successfully or not. It is published
/// only while somebody waits for the end of a refresh, and is not kept in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The device.
    pub device: DeviceId,
}

impl Ended {
    /// Reads a message: `! <device>`.
    pub fn parse(message: &str) -> Option<Self> {
        Some(Self { device: message.strip_prefix("! ")?.parse().ok()? })
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "! {}", self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_read_as_it_is_written() {
        let ended = Ended { device: DeviceId(17) };
        assert_eq!(Ended::parse(&ended.to_string()), Some(ended));
        for other in ["1-0 17 _", "! x", "!17", ""] {
            assert_eq!(Ended::parse(other), None, "{other}");
        }
    }
}
