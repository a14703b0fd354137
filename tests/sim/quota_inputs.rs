//! The quota inputs of connections as they change: plans, and how many devices there are.

use crate::chance::Chance;
use crate::world::World;
use paceline::provider::Quota;
use paceline::schedule::QuotaInputsUpdate;
use paceline::words::{ConnectionId, QuotaInputs};
use std::collections::HashMap;

/// The plans of a provider that has some. The last is of a definition that came before: it counts as the smallest.
pub const PLANS: [&str; 3] = ["small", "large", "former"];

/// One connection's quota inputs, from when on, ms; the last are those in force.
#[derive(Debug, Clone)]
pub struct Account {
    pub known: Vec<(i64, QuotaInputs)>,
    /// When it last was allowed less than before, or might have been; 0 for never.
    pub since: i64,
}

/// By connection, as lanes name it.
#[derive(Debug, Clone, Default)]
pub struct Accounts(pub HashMap<String, Account>);

impl Accounts {
    pub fn now(&self, connection: &str) -> QuotaInputs {
        let account = self.0.get(connection).and_then(|account| account.known.last());
        account.map(|(_, inputs)| inputs.clone()).unwrap_or_default()
    }

    pub fn since(&self, connection: &str) -> i64 {
        self.0.get(connection).map_or(0, |account| account.since)
    }

    /// The inputs in force at any time from `from` on. What was granted by the former ones may be sent `after`
    /// ms later.
    pub fn in_force(&self, connection: &str, from: f64, after: f64) -> Vec<QuotaInputs> {
        let Some(account) = self.0.get(connection) else { return vec![QuotaInputs::default()] };
        let ends = account.known.iter().skip(1).map(|(at, _)| *at as f64 + after).chain([f64::INFINITY]);
        account
            .known
            .iter()
            .zip(ends)
            .filter(|(_, end)| *end > from)
            .map(|((_, inputs), _)| inputs.clone())
            .collect()
    }

    /// Those of them that allow most by this quota.
    pub fn most(&self, quota: &Quota, connection: &str, from: f64, after: f64) -> QuotaInputs {
        let in_force = self.in_force(connection, from, after).into_iter();
        in_force.max_by_key(|inputs| quota.amount_for(inputs)).unwrap_or_default()
    }

    fn set(&mut self, connection: &str, inputs: QuotaInputs, now: i64) {
        let account = self.0.entry(connection.to_owned()).or_insert(Account { known: Vec::new(), since: 0 });
        if let Some((_, before)) = account.known.last()
            && (before.plan != inputs.plan || inputs.devices < before.devices)
        {
            account.since = now;
        }
        account.known.push((now, inputs));
    }
}

fn some(chance: &mut Chance) -> QuotaInputs {
    QuotaInputs { plan: chance.pick(&PLANS).to_owned(), devices: chance.within(0, 7) as u32 }
}

impl World {
    /// What connections begin with; the schedule does not know some.
    pub async fn set_first_quota_inputs(&mut self) {
        for connection in 1..=self.limits.connections as i64 {
            let mut chance = Chance::new(self.limits.seed, 5_000 + connection as u64);
            if self.limits.plans && chance.hits(0.8) {
                let inputs = some(&mut chance);
                self.change_quota_inputs(connection, inputs).await;
            }
        }
    }

    /// An owner changes the plan, a device comes or goes; or what was read before arrives late and changes nothing.
    pub async fn terms_step(&mut self) {
        let connection = self.chance.within(1, self.limits.connections as i64);
        let mut inputs = self.accounts.now(&connection.to_string());
        match self.chance.within(0, 4) {
            0 => inputs.devices += 1,
            1 => inputs.devices = inputs.devices.saturating_sub(1),
            2 => {
                let inputs = some(&mut self.chance);
                let known =
                    [QuotaInputsUpdate { connection: ConnectionId(connection), inputs, read_at_us: 0 }];
                if self.accounts.0.contains_key(&connection.to_string()) {
                    self.rig.put_quota_inputs(&known, false, self.now).await;
                }
                return;
            }
            _ => inputs = some(&mut self.chance),
        }
        self.change_quota_inputs(connection, inputs).await;
    }

    async fn change_quota_inputs(&mut self, connection: i64, inputs: QuotaInputs) {
        self.say(format!("connection {connection} is on {inputs:?}"));
        self.accounts.set(&connection.to_string(), inputs.clone(), self.now);
        let known = [QuotaInputsUpdate {
            connection: ConnectionId(connection),
            inputs,
            read_at_us: self.now * 1_000,
        }];
        self.rig.put_quota_inputs(&known, false, self.now).await;
    }

    /// After a loss all are put again.
    pub async fn put_all_quota_inputs(&mut self) {
        let known = |(connection, account): (&String, &mut Account)| {
            account.since = 0;
            let connection = ConnectionId(connection.parse().expect("a number"));
            let (_, inputs) = account.known.last()?.clone();
            Some(QuotaInputsUpdate { connection, inputs, read_at_us: self.now * 1_000 })
        };
        let known: Vec<_> = self.accounts.0.iter_mut().filter_map(known).collect();
        self.rig.put_quota_inputs(&known, true, self.now).await;
    }
}
