//! What workers do: take, wait, send, settle; and crash, pause, settle twice or too late in between.

use crate::far;
use crate::limits::Fault;
use crate::referee::{Call, connection};
use crate::rig::Fields;
use crate::twin::Twin;
use crate::world::{Event, Out, World};
use paceline::schedule::JobLocation;
use paceline::take::{Distance, Grant, Room, Settlement, Taken};
use paceline::words::{ConnectionId, End};
use std::collections::HashMap;

impl World {
    /// Whether the worker takes this step: it is still alive, and stands not still. Its fate may strike here.
    fn steps(&mut self, worker: usize, life: u32, event: Event) -> bool {
        if self.workers[worker].life != life {
            return false;
        }
        if self.has(Fault::Crash) && self.chance.hits(0.01) {
            self.crash(worker);
            return false;
        }
        if self.has(Fault::Pause) && self.chance.hits(0.01) {
            let lease = self.scenario.lease_ms();
            let pause = self.chance.pick(&[20, 300, lease - 100, lease + 1_000]);
            self.workers[worker].paused_until = self.now + pause;
            self.say(format!("worker {worker} stands still for {pause} ms"));
        }
        let until = self.workers[worker].paused_until;
        if until > self.now {
            self.at_us(until * 1_000, event);
            return false;
        }
        true
    }

    fn crash(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        let calls = std::mem::take(&mut w.calls);
        w.life += 1;
        (w.paused_until, w.flushing, w.hungry, w.next_take) = (0, false, false, None);
        w.ended.clear();
        self.say(format!("worker {worker} dies with {calls:?}"));
        let wait = self.chance.within(0, 5_000);
        self.look_again(worker, wait);
    }

    pub async fn take_step(&mut self, worker: usize, life: u32) {
        // Another instant took this one's place.
        if self.workers[worker].next_take.is_none_or(|next| next > self.now) {
            return;
        }
        if !self.steps(worker, life, Event::Take(worker, life)) {
            return;
        }
        self.workers[worker].next_take = None;
        let free = self.scenario.slots - self.workers[worker].calls.len().min(self.scenario.slots);
        let calls = if self.quiet { free } else { self.chance.within(1, free as i64) as usize };
        if free == 0 {
            self.workers[worker].hungry = true;
            return;
        }
        let Some(taken) = self.take(worker, calls).await else { return };
        let granted: Vec<_> = taken.grants.iter().map(described).collect();
        self.say(format!(
            "worker {worker} takes {calls}: {granted:?}, reaped {}, wake {:.3}, bound {:?}",
            taken.reaped,
            taken.wake_in_ms,
            taken.bound.iter().map(|b| (b.lane.as_str(), b.by.as_str())).collect::<Vec<_>>()
        ));
        if self.has(Fault::Crash) && self.chance.hits(0.02) {
            // What it was granted never reaches it.
            self.crash(worker);
            return;
        }
        let full = taken.grants.len() == calls;
        self.workers[worker].hungry = full;
        if taken.wake_in_ms == 0.0 && taken.grants.is_empty() {
            self.wrong.push(format!(
                "wake: a worker with room for {calls} got {granted:?} and must ask again at once"
            ));
        }
        if taken.wake_in_ms >= 0.0 && !(full && calls == free) {
            self.look_again(worker, taken.wake_in_ms.ceil() as i64);
        }
        for grant in taken.grants {
            self.accept(worker, life, (taken.now.0, taken.late_ms), grant);
        }
    }

    /// How many calls of each account the worker has room for.
    fn draw_room(&mut self) -> Option<Room> {
        if !self.has(Fault::Room) || self.quiet || !self.room.hits(0.3) {
            return None;
        }
        let most = self.room.within(0, 3) as usize;
        let few = |connection| (ConnectionId(connection), self.room.within(0, 1) as usize);
        let of = (1..=self.limits.connections as i64 / 2).map(few).collect();
        Some(Room { most, of })
    }

    fn is_within(&mut self, taken: &Taken, room: Option<&Room>) {
        let Some(room) = room else { return };
        let mut calls = HashMap::new();
        for grant in &taken.grants {
            *calls.entry(ConnectionId(connection(&grant.lane).parse().expect("a number"))).or_insert(0) += 1;
        }
        for (connection, calls) in calls {
            if calls > room.of.get(&connection).copied().unwrap_or(room.most) {
                self.wrong.push(format!("room: {calls} calls of {connection}, and {room:?}"));
            }
        }
    }

    /// A take, held against all that is known.
    async fn take(&mut self, worker: usize, calls: usize) -> Option<Taken> {
        let distance = far::distance(&self.limits, worker, self.workers[worker].life);
        self.rig.taker.set_distance(distance);
        self.far.note(self.now, distance, self.scenario.settings.horizon.as_ms());
        let is_checked = self.chance.hits(0.5) && self.has_twin;
        if is_checked && !self.model.expired(self.now).is_empty() {
            // What is lost comes back first, so that what the take itself finds is known.
            let taken = self.rig.take(0, self.now).await;
            self.wrong.extend(self.model.taken(&taken, &self.far));
        }
        let mut before = None;
        let connections: Vec<i64> = (1..=self.limits.connections as i64).collect();
        if is_checked && self.model.expired(self.now).is_empty() {
            before =
                Some((self.locations().await, self.rig.fields(&connections).await, self.rig.due().await));
        }
        if let Some((locations, fields, due)) = &before {
            let mut twin = self.twin(fields.clone(), locations, due, distance);
            twin.sleepers(self.ids(), locations, &self.model);
            let wrong = twin.wrong;
            self.wrong.extend(wrong);
        }
        let room = self.draw_room();
        let taken = self.rig.take_within(calls, room.as_ref(), self.now).await;
        self.is_within(&taken, room.as_ref());
        if !taken.live || !taken.corrupt.is_empty() {
            self.wrong.push(format!("take: live {}, corrupt {:?}", taken.live, taken.corrupt));
            return None;
        }
        if let Some((locations, fields, due)) = before.filter(|_| !taken.grants.is_empty()) {
            let after = self.rig.fields(&connections).await;
            let mut twin = self.twin(fields, &locations, &due, distance);
            let devices_apart = self.model.devices_apart || self.holds.has_device();
            twin.follow(&taken, &after, devices_apart);
            self.wrong.append(&mut twin.wrong);
        }
        self.wrong.extend(self.model.taken(&taken, &self.far));
        if taken.late_ms != self.far.late_ms as f64 {
            self.wrong.push(format!("far: {} ms late, should be {:?}", taken.late_ms, self.far));
        }
        for grant in &taken.grants {
            if grant.send_in_ms < distance.lead_ms as f64 {
                self.wrong.push(format!("far: call {} goes in {} ms", grant.call, grant.send_in_ms));
            }
            self.fence = self.fence.max(grant.call.0);
            self.is_held(grant, self.now as f64 + grant.send_in_ms);
        }
        Some(taken)
    }

    /// All that is known of how things stand, by the definitions.
    fn twin<'a>(
        &'a self,
        fields: Fields,
        locations: &'a [JobLocation],
        due: &'a HashMap<i64, f64>,
        distance: Distance,
    ) -> Twin<'a> {
        let scenario = &self.scenario;
        Twin::new(
            (&scenario.provider, &scenario.settings, scenario.lease_ms()),
            (fields, self.epoch, &self.accounts, self.far),
            (&self.model, self.ids(), locations, due),
            (self.now, distance.lead_ms),
        )
    }

    /// A hold that was settled before this take stops its calls, or lets one of them go first.
    fn is_held(&mut self, grant: &Grant, at: f64) {
        let own = connection(&grant.lane).to_owned();
        let mut scopes = vec![String::new(), own.clone()];
        if grant.lane != own {
            scopes.push(grant.lane.clone());
        }
        scopes
            .extend(grant.jobs.iter().map(|job| format!("#{}", self.model.jobs[&job.id.0].entry.job.device)));
        let wrong = self.holds.granted(grant.call.0, &scopes, at, &self.model, self.now);
        self.wrong.extend(wrong);
    }

    fn accept(&mut self, worker: usize, life: u32, (now, late_ms): (i64, f64), grant: Grant) {
        let at = now as f64 + grant.send_in_ms;
        // All of it, even if nobody is late by fault: a worker that is far does not know when the script ran.
        let latest = at + self.scenario.late_ms + late_ms;
        let number = grant.call.0;
        let job = |id: i64| &self.model.jobs[&id].entry.job;
        let call = Call {
            lane: grant.lane.clone(),
            resource: grant.resource.clone(),
            devices: grant.jobs.iter().map(|j| job(j.id.0).device.0).collect(),
            cost: self
                .scenario
                .provider
                .resource(grant.resource.as_str())
                .map_or(1, |r| r.cost_of(grant.jobs.len() as u32)),
            urgent: self.model.jobs[&grant.jobs[0].id.0].urgent,
            fails: false,
        };
        let late = if self.chance.hits(0.5) { self.chance.share(0.0, latest - at) } else { 0.0 };
        // The worst is one that is as late as may be, and the others are not.
        let late = if late_ms > 0.0 && self.chance.hits(0.3) { latest - at } else { late };
        let late = if self.has(Fault::Late) || self.has(Fault::Far) { late } else { 0.0 };
        let send_at = at + late;
        let mut end = End::Good;
        if self.has(Fault::Back) && self.chance.hits(0.12) {
            end = End::Unsent;
            let wait = self.chance.within(0, grant.send_in_ms as i64 + 500);
            self.after(wait, Event::Land(number));
        } else {
            self.at_us((send_at * 1_000.0).ceil() as i64, Event::Send(number));
        }
        self.workers[worker].calls.insert(number);
        self.outs.insert(
            number,
            Out { worker, life, grant, latest, send_at, call, sent: None, answered: 0.0, end, hold: None },
        );
    }

    pub fn send_step(&mut self, number: i64, at_us: i64) {
        let Some(out) = self.outs.get(&number) else { return };
        let (worker, life, meant, latest) = (out.worker, out.life, out.send_at, out.latest);
        if !self.steps(worker, life, Event::Send(number)) {
            return;
        }
        let waited = at_us as f64 / 1_000.0 > meant + 0.002;
        let at = if waited { self.now as f64 } else { meant };
        if at > latest + 1e-9 {
            self.say(format!("worker {worker} missed the instant of {}", number % 32));
            self.after(0, Event::Land(number));
            self.outs.get_mut(&number).expect("a call").end = End::Unsent;
            return;
        }
        self.receive(number, at);
    }

    pub fn land_step(&mut self, number: i64) {
        let Some(out) = self.outs.get(&number) else { return };
        let (worker, life, end, call) = (out.worker, out.life, out.end, out.grant.call);
        if !self.steps(worker, life, Event::Land(number)) {
            return;
        }
        let settlement = if end == End::Unsent { Settlement::unsent(call) } else { self.judge(number) };
        self.say(format!("call {} ends {:?} {:?}", number % 32, settlement.end, settlement.jobs));
        let w = &mut self.workers[worker];
        w.ended.push(settlement);
        if !std::mem::replace(&mut w.flushing, true) {
            let wait = if self.quiet { 1 } else { self.chance.within(0, 50) };
            self.after(wait, Event::Flush(worker, life));
        }
    }

    pub async fn flush_step(&mut self, worker: usize, life: u32) {
        if !self.steps(worker, life, Event::Flush(worker, life)) {
            return;
        }
        let settlements = std::mem::take(&mut self.workers[worker].ended);
        self.workers[worker].flushing = false;
        for settlement in &settlements {
            self.workers[worker].calls.remove(&settlement.call.0);
        }
        let wake = self.settle(&settlements).await;
        if self.has(Fault::Twice) && self.chance.hits(0.1) {
            let wait = self.chance.within(0, 2 * self.scenario.lease_ms());
            self.after(wait, Event::Repeat(self.repeats.len()));
            self.repeats.push(settlements);
        }
        if let Some(wake) = wake {
            self.look_again(worker, wake.ceil() as i64);
        }
        if self.workers[worker].hungry {
            self.look_again(worker, 0);
        }
        if self.has(Fault::Crash) && self.chance.hits(0.02) {
            self.crash(worker);
        }
    }

    pub async fn repeat_step(&mut self, which: usize) {
        let settlements = self.repeats[which].clone();
        self.say(format!(
            "settled once more: {:?}",
            settlements.iter().map(|s| s.call.0 % 32).collect::<Vec<_>>()
        ));
        self.settle(&settlements).await;
    }

    async fn settle(&mut self, settlements: &[Settlement]) -> Option<f64> {
        let live = settlements.iter().filter(|settlement| self.model.holds(settlement.call.0));
        let ended: Vec<_> = live.map(|s| (s.call.0, s.end, self.scopes_held(s))).collect();
        self.holds.settled(&ended, self.now);
        self.model.devices_apart |= self.holds.has_device();
        let expected = self.model.settled(settlements, self.now);
        self.far.note(self.now, self.rig.taker.distance(), self.scenario.settings.horizon.as_ms());
        let settled = self.rig.settle(settlements, self.now).await;
        let mut stale: Vec<_> = settled.stale.iter().map(|call| call.0).collect();
        stale.sort_unstable();
        self.say(format!("settled {} calls, stale {stale:?}", settlements.len()));
        if stale != expected {
            self.wrong
                .push(format!("fence: settlements of {stale:?} are stale, should be those of {expected:?}"));
        }
        settled.wake_in_ms
    }
}

/// A grant in a line of the log: number in its take, lane and resource, in how many ms, for which jobs.
fn described(grant: &Grant) -> String {
    let jobs: Vec<_> = grant.jobs.iter().map(|job| job.id.0).collect();
    let Grant { lane, resource, send_in_ms, .. } = grant;
    format!("{} {lane}/{} in {send_in_ms:.3} {jobs:?}", grant.call.0 % 32, resource.as_str())
}
