//! The scenarios of lasting overload: what is asked, and what is scarce.

use crate::chance::Chance;
use crate::scenario::{interval, name};
use paceline::words::{ConnectionId, DeviceId, Job, JobId, JobState, Priority, TenantId};

/// The least that is asked, of the order of all of it.
const ASKED_MS: i64 = 600_000;
/// The window of every quota.
pub const WINDOW_MS: f64 = 86_400_000.0;

/// The shapes of what is scarce.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scarce {
    /// One account's quota.
    Account,
    /// The application's, shared by accounts of different weights.
    App,
    /// Both: the heaviest account meets its own first.
    Both,
    /// An account's, shared by its homes.
    Homes,
    /// An account's, shared by a home and by devices in none.
    HomeAndNone,
    /// The application's of one resource, beside accounts' own of all.
    OneResource,
    /// A part of the application's is kept for "refresh now".
    Reserve,
}

/// Some jobs of one account and home.
pub struct Lane {
    pub connection: i64,
    pub group: &'static str,
    pub weight: u32,
    pub jobs: i64,
}

impl Scarce {
    /// Who asks.
    pub fn lanes(self, chance: &mut Chance) -> Vec<Lane> {
        // A third of them is what the one resource counts.
        let (least, most) = if self == Self::OneResource { (110, 150) } else { (46, 52) };
        let mut lane =
            |connection, group, weight| Lane { connection, group, weight, jobs: chance.within(least, most) };
        match self {
            Self::Account => vec![lane(1, "", 1)],
            Self::App | Self::Both | Self::Reserve => vec![lane(1, "", 1), lane(2, "", 2)],
            Self::Homes => vec![lane(1, "east", 1), lane(1, "north", 1)],
            Self::HomeAndNone => vec![lane(1, "east", 1), lane(1, "", 1)],
            Self::OneResource => vec![lane(1, "", 1), lane(2, "", 1)],
        }
    }

    /// What is allowed, of so much that is asked a ms.
    pub fn quotas(self, chance: &mut Chance, asked: f64) -> String {
        let mut share = |least, most| chance.share(least, most);
        match self {
            Self::Account | Self::Homes | Self::HomeAndNone => {
                quota("own", "connection", asked * share(0.35, 0.6), "")
            }
            Self::App => quota("app", "app", asked * share(0.35, 0.6), ""),
            Self::OneResource => {
                let own = asked / 2.0 * share(0.5, 0.7);
                let app = asked / 3.0 * share(0.3, 0.5);
                quota("own", "connection", own, "") + &quota("app", "app", app, "resources = [\"energy\"]\n")
            }
            // The second's part of the application's would be two thirds.
            Self::Both => {
                let app = asked * share(0.4, 0.6);
                quota("app", "app", app, "") + &quota("own", "connection", app * share(0.55, 0.6), "")
            }
            Self::Reserve => quota("app", "app", asked * share(0.5, 0.7), "reserve = 0.25\n"),
        }
    }
}

/// With room for the dearest call at once, and one more: quotas inside one another then lose nothing to each other.
fn quota(name: &str, scope: &str, per_ms: f64, rest: &str) -> String {
    const BURST: f64 = 3.0;
    let amount = (per_ms * WINDOW_MS + BURST - 1.0).round();
    format!(
        "[[quota]]\nname = \"{name}\"\nscope = \"{scope}\"\namount = {amount}\nburst = {BURST}\nwindow = \"1day\"\n\
         headroom = 0.0\n{rest}"
    )
}

/// One job of a lane.
pub fn job(number: i64, lane: &Lane, resource: &str, classes: &[Priority], chance: &mut Chance) -> Job {
    Job {
        id: JobId(number),
        tenant: TenantId(lane.connection),
        provider: name(),
        connection: ConnectionId(lane.connection),
        device: DeviceId(number),
        group: lane.group.to_owned(),
        resource: resource.parse().expect("a name"),
        interval: interval(chance.within(ASKED_MS, 3 * ASKED_MS) as u64),
        priority: chance.pick(classes),
        state: JobState::Active,
        version: 1,
    }
}
