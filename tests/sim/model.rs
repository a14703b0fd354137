//! What must be true of each job, computed in Rust beside the scripts: where it is, when it is due, which call has it.

use crate::far::Far;
use crate::scenario::{Scenario, T0};
use paceline::redis::agreed::LEASE_WIDTH;
use paceline::schedule::{Entry, JobLocation, Refresh};
use paceline::take::{FailureKind, Grant, GrantedJob, Settlement, Taken, TakerSettings, Verdict};
use paceline::words::{JobId, UnixMs};
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    /// The schedule does not know it.
    Nowhere,
    /// Due or ready.
    Waiting,
    /// In this call.
    Leased(i64),
}

#[derive(Debug, Clone)]
pub struct Known {
    pub entry: Entry,
    pub at: At,
    /// Dropped while it was leased.
    pub dropped: bool,
    pub urgent: bool,
    pub due: i64,
    pub last: i64,
    /// It was put off, so that even a "refresh now" waits.
    pub put_off: bool,
    pub attempts: u32,
    pub kind: u8,
    /// When it was last sent, whatever became of it.
    pub sent: i64,
    /// The version it was leased with.
    leased_version: i64,
}

/// Some calls of one take.
struct Lease {
    expires: f64,
    calls: BTreeMap<i64, Vec<JobId>>,
}

pub struct Model {
    pub jobs: BTreeMap<i64, Known>,
    leases: BTreeMap<i64, Lease>,
    lease_ms: i64,
    settings: TakerSettings,
    /// Some device has a limit or a hold of its own: its jobs may be put off one by one.
    pub devices_apart: bool,
    fence: i64,
}

impl Known {
    pub fn interval(&self) -> i64 {
        self.entry.job.interval.as_ms() as i64
    }

    fn grid_after(&self, t: i64) -> i64 {
        let offset = i64::from(self.entry.offset_ms);
        ((t - offset).div_euclid(self.interval()) + 1) * self.interval() + offset
    }

    fn fail(&mut self, kind: FailureKind) {
        self.attempts = if self.kind == kind as u8 { (self.attempts + 1).min(255) } else { 1 };
        self.kind = kind as u8;
    }

    fn calm(&mut self) {
        (self.attempts, self.kind) = (0, 0);
    }

    fn end(&mut self, verdict: Verdict, now: i64, waits_max: [i64; 2]) {
        self.at = At::Waiting;
        if self.dropped || matches!(verdict, Verdict::Drop(version) if version >= self.entry.job.version) {
            self.forget();
            return;
        }
        let is_failure = matches!(verdict, Verdict::Later(..) | Verdict::Miss(..));
        if is_failure && self.entry.job.version > self.leased_version {
            // Its owner has changed it since: the failure says nothing of it as it is now.
            (self.put_off, self.due) = (false, now);
            self.calm();
            return;
        }
        let was_urgent = self.urgent;
        self.put_off = matches!(verdict, Verdict::Later(..));
        self.urgent &= matches!(verdict, Verdict::Again | Verdict::Later(..) | Verdict::Drop(_));
        match verdict {
            Verdict::Again | Verdict::Drop(_) => {}
            Verdict::Done(sent) => {
                self.last = self.last.max(sent.0);
                self.calm();
                let point = self.grid_after(self.last.max(self.due));
                // A refresh never puts the next run off by more than an interval.
                self.due = if was_urgent { point.min(self.last + self.interval()) } else { point };
            }
            Verdict::Later(wait, kind) => {
                self.fail(kind);
                self.due = now + wait as i64;
            }
            Verdict::Miss(intervals, kind) => {
                self.fail(kind);
                let most = match kind {
                    FailureKind::NoData if self.last > 0 => waits_max[0].max(4 * self.interval()),
                    kind => waits_max[usize::from(kind != FailureKind::Transient)].max(self.interval()),
                };
                let wait = (intervals as i64).saturating_mul(self.interval()).min(most);
                self.due = self.grid_after(now + wait - self.interval());
                assert!(
                    self.due > now && self.due <= now + wait,
                    "a failure puts off by its own wait at most"
                );
            }
        }
    }

    pub fn forget(&mut self) {
        (self.at, self.dropped, self.urgent, self.put_off) = (At::Nowhere, false, false, false);
        self.calm();
    }
}

fn lease_of(call: i64) -> i64 {
    call / LEASE_WIDTH * LEASE_WIDTH
}

impl Model {
    pub fn new(scenario: &Scenario) -> Self {
        let known = |entry: &Entry| Known {
            at: At::Nowhere,
            dropped: false,
            urgent: false,
            due: 0,
            last: 0,
            put_off: false,
            attempts: 0,
            kind: 0,
            sent: T0,
            leased_version: 0,
            entry: entry.clone(),
        };
        Self {
            jobs: scenario.entries.iter().map(|e| (e.job.id.0, known(e))).collect(),
            leases: BTreeMap::new(),
            lease_ms: scenario.lease_ms(),
            settings: scenario.settings.clone(),
            devices_apart: scenario.provider.quotas().any(|q| q.scope == paceline::words::Scope::Device),
            fence: 0,
        }
    }

    /// A preference put at this instant. `in_due`: it waits for its time, not in rank.
    pub fn put(&mut self, entry: &Entry, in_due: bool, now: i64, spread: i64) {
        let job = self.jobs.get_mut(&entry.job.id.0).expect("a job of the scenario");
        let old = std::mem::replace(&mut job.entry, entry.clone());
        let last_run = entry.last_run.map_or(0, |at| at.0);
        if job.at == At::Nowhere {
            job.forget();
            (job.at, job.last) = (At::Waiting, last_run);
            job.due = if last_run > 0 {
                job.grid_after(last_run).max(0)
            } else {
                let since = entry.wanted_since.map_or(now, |since| since.0.clamp(now - 86_400_000, now));
                since + i64::from(entry.offset_ms) % spread
            };
            return;
        }
        job.dropped = false;
        job.last = job.last.max(last_run);
        let moved = old.offset_ms != entry.offset_ms || old.job.interval != entry.job.interval;
        if entry.job.version > old.job.version && job.attempts > 0 && job.at == At::Waiting && in_due {
            job.due = now;
            job.calm();
            return;
        }
        // Where it waits for its time its grid is the new one at once; else when its call ends.
        if moved && job.at == At::Waiting && in_due {
            job.due = job.grid_after(now);
            job.calm();
        }
    }

    pub fn drop(&mut self, id: JobId, version: i64) {
        let job = self.jobs.get_mut(&id.0).expect("a job of the scenario");
        match job.at {
            _ if job.entry.job.version > version => {}
            At::Leased(_) => job.dropped = true,
            _ => job.forget(),
        }
    }

    pub fn refresh(&mut self, id: JobId, in_due: bool) -> Refresh {
        let job = self.jobs.get_mut(&id.0).expect("a job of the scenario");
        match job.at {
            At::Nowhere => Refresh::Unknown,
            At::Leased(_) if job.dropped => Refresh::Unknown,
            At::Leased(_) => Refresh::Running,
            At::Waiting if job.urgent && !in_due => Refresh::Waiting,
            At::Waiting => {
                (job.urgent, job.put_off) = (true, false);
                Refresh::Queued
            }
        }
    }

    /// Everything is forgotten; what the owners want is put again.
    pub fn wipe(&mut self) {
        self.leases.clear();
        self.jobs.values_mut().for_each(Known::forget);
    }

    /// How many calls a take at this instant must find lost.
    pub fn expired(&self, now: i64) -> Vec<i64> {
        let mut dead: Vec<_> = self.leases.iter().filter(|(_, l)| l.expires <= now as f64).collect();
        dead.sort_by(|a, b| a.1.expires.total_cmp(&b.1.expires).then(a.0.to_string().cmp(&b.0.to_string())));
        dead.iter().take(100).map(|(take, _)| **take).collect()
    }

    /// Follows a take, and says what is wrong with it.
    pub fn taken(&mut self, taken: &Taken, far: &Far) -> Vec<String> {
        let (now, mut wrong) = (taken.now.0, Vec::new());
        let mut lost = 0;
        for take in self.expired(now) {
            let calls = self.leases.remove(&take).map_or(BTreeMap::new(), |lease| lease.calls);
            lost += calls.len();
            for id in calls.values().flatten() {
                let job = self.jobs.get_mut(&id.0).expect("a job of the scenario");
                job.at = At::Waiting;
                if job.dropped {
                    job.forget();
                }
            }
        }
        if lost != taken.reaped as usize {
            wrong.push(format!("lease: {lost} calls are lost, {} were reaped", taken.reaped));
        }
        let mut seen = HashSet::new();
        let (mut last_send, mut calls) = (now as f64, BTreeMap::<i64, BTreeMap<i64, Vec<JobId>>>::new());
        for grant in &taken.grants {
            if grant.call.0 <= self.fence {
                wrong.push(format!("fence: call {} after {}", grant.call, self.fence));
            }
            self.fence = self.fence.max(grant.call.0);
            let at = now as f64 + grant.send_in_ms;
            last_send = last_send.max(at);
            let horizon = (self.settings.horizon.as_ms() + far.reach_ms) as f64;
            if !(0.0..=horizon).contains(&grant.send_in_ms) || grant.jobs.is_empty() {
                wrong.push(format!(
                    "grant: call {} of {} jobs in {} ms",
                    grant.call,
                    grant.jobs.len(),
                    grant.send_in_ms
                ));
            }
            for (location, granted) in grant.jobs.iter().enumerate() {
                if !seen.insert(granted.id) {
                    wrong.push(format!("twice: job {} is in two calls of one take", granted.id));
                }
                wrong.extend(self.grant(grant, granted, location, at));
            }
            let lease = calls.entry(lease_of(grant.call.0)).or_default();
            lease.insert(grant.call.0, grant.jobs.iter().map(|j| j.id).collect());
        }
        let expires = last_send + self.lease_ms as f64;
        self.leases.extend(calls.into_iter().map(|(lease, calls)| (lease, Lease { expires, calls })));
        wrong
    }

    fn grant(&mut self, grant: &Grant, granted: &GrantedJob, location: usize, at: f64) -> Option<String> {
        let settings = &self.settings;
        let job = self.jobs.get_mut(&granted.id.0)?;
        let was = job.at;
        job.at = At::Leased(grant.call.0);
        job.leased_version = granted.version;
        let early = job.due as f64 - at;
        // Whoever is not the first may ride along a little early.
        let ride = (settings.ride_share * job.interval() as f64).min(settings.ride_max.as_ms() as f64);
        let may_ride = location > 0 && job.entry.shared && early <= ride + 1e-6;
        let granted_as = (granted.due.0, granted.attempts, granted.kind, granted.version);
        if was != At::Waiting || job.dropped {
            Some(format!("twice: job {} is granted while it is {was:?}", granted.id))
        } else if grant.lane != job.entry.job.lane() || grant.resource != job.entry.job.resource {
            Some(format!("grant: job {} in a call of {} {}", granted.id, grant.lane, grant.resource.as_str()))
        } else if granted_as != (job.due, job.attempts, job.kind, job.entry.job.version) {
            Some(format!("grant: job {} is granted as {granted:?}, and is {job:?}", granted.id))
        } else if early > 1e-6 && !job.urgent && !may_ride {
            Some(format!("asked: job {} is served {early} ms before it is due", granted.id))
        } else {
            None
        }
    }

    /// Whether a call is still held, so that its settlement counts.
    pub fn holds(&self, call: i64) -> bool {
        self.leases.get(&lease_of(call)).is_some_and(|lease| lease.calls.contains_key(&call))
    }

    /// Whether every settlement of a batch that is not stale is followed; returns those that must be stale.
    pub fn settled(&mut self, settlements: &[Settlement], now: i64) -> Vec<i64> {
        let (mut stale, mut ended, mut live) = (Vec::new(), HashSet::new(), Vec::new());
        for settlement in settlements {
            let call = settlement.call.0;
            let lease = self.leases.get_mut(&lease_of(call));
            let Some(ids) = lease.and_then(|lease| lease.calls.remove(&call)) else {
                stale.push(call);
                continue;
            };
            if self.leases.get(&lease_of(call)).is_some_and(|lease| lease.calls.is_empty()) {
                self.leases.remove(&lease_of(call));
            }
            let verdicts: HashMap<JobId, Verdict> = settlement.jobs.iter().copied().collect();
            for id in ids {
                let job = self.jobs.get_mut(&id.0).expect("a job of the scenario");
                let waits_max = self.settings.waits_max.map(|wait| wait.as_ms() as i64);
                job.end(verdicts.get(&id).copied().unwrap_or(Verdict::Again), now, waits_max);
                ended.insert(id);
            }
            live.push(settlement);
        }
        for (id, sent) in live.iter().flat_map(|settlement| &settlement.unsolicited) {
            self.unsolicited(*id, *sent, &mut ended);
        }
        stale.sort_unstable();
        stale
    }

    fn unsolicited(&mut self, id: JobId, sent: UnixMs, ended: &mut HashSet<JobId>) {
        let Some(job) = self.jobs.get_mut(&id.0) else { return };
        if job.at == At::Waiting && sent.0 > job.last && ended.insert(id) {
            (job.last, job.urgent, job.put_off) = (sent.0, false, false);
            job.calm();
            job.due = sent.0 + job.interval();
        }
    }

    /// What is wrong with where the schedule has these jobs.
    pub fn check(&self, ids: &[JobId], locations: &[JobLocation], now: i64) -> Vec<String> {
        let pairs =
            ids.iter().zip(locations).filter_map(|(id, location)| Some((self.jobs.get(&id.0)?, location)));
        pairs.filter_map(|(job, location)| self.misplaced(job, location, now)).collect()
    }

    fn misplaced(&self, job: &Known, location: &JobLocation, now: i64) -> Option<String> {
        let id = job.entry.job.id;
        if job.at == At::Nowhere || job.dropped {
            let gone = !location.known && !location.due && !location.ready && location.leased == job.dropped;
            return (!gone).then(|| format!("location: dropped job {id} is at {location:?}"));
        }
        let located = (
            location.due_ms,
            location.last_ms,
            i64::from(location.interval_ms),
            location.version,
            location.class,
        );
        let want = &job.entry.job;
        let is = (job.due, job.last, job.interval(), want.version, want.priority.class());
        if !location.is_sound() || location.leased != matches!(job.at, At::Leased(_)) {
            Some(format!("location: job {id} is {:?} and at {location:?}", job.at))
        } else if located != is {
            Some(format!(
                "grid: job {id} should be (due, last, interval, version, class) {is:?}, is {located:?}"
            ))
        } else if job.urgent && location.due && location.due_ms > now && !job.put_off && !self.devices_apart {
            Some(format!("refresh: job {id} waits until {}", location.due_ms - now))
        } else {
            None
        }
    }
}
