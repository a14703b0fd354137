//! The cloud: counts what arrives, and answers as it likes.

use crate::holds::ReportedHold;
use crate::limits::Fault;
use crate::referee::connection;
use crate::scenario::T0;
use crate::world::{Event, Refusal, World};
use paceline::take::{FailureKind, Settlement, Verdict};
use paceline::words::{End, Hold, JobId, Scope, UnixMs};

impl World {
    /// A call arrives.
    pub fn receive(&mut self, number: i64, at: f64) {
        let own = connection(&self.outs[&number].grant.lane).to_owned();
        let end = self.fate(&own, at);
        let hold = (end == End::Throttled).then(|| self.refuse(own, at));
        // Of an answer that got lost only the cloud knows what it was.
        let fails = matches!(end, End::Error | End::Throttled) || end == End::Lost && self.chance.hits(0.5);
        let out = self.outs.get_mut(&number).expect("a call");
        (out.sent, out.end, out.hold, out.call.fails) = (Some(at), end, hold, fails);
        for job in &out.grant.jobs {
            if let Some(job) = self.model.jobs.get_mut(&job.id.0) {
                job.sent = at as i64;
            }
        }
        let call = out.call.clone();
        let wrong = self.referee.sent(&call, at, &self.accounts);
        self.say(format!(
            "call {} of {} is sent at {:.3}, will be {end:?}",
            number % 32,
            call.lane,
            at - T0 as f64
        ));
        self.wrong.extend(wrong);
        let timeout = self.scenario.timeout_ms();
        let slow = self.chance.pick(&[40, 300, 300, timeout - 1]);
        // To refuse is quick.
        let slow = if end == End::Throttled { 40 } else { slow };
        let latency = self.chance.within(1, if self.quiet { 20 } else { slow });
        let answered_us = ((at + latency as f64) * 1_000.0) as i64;
        self.at_us(answered_us, Event::Answer(number));
        self.outs.get_mut(&number).expect("a call").answered = at + latency as f64;
        let landed_us = if end == End::Lost { ((at + timeout as f64) * 1_000.0) as i64 } else { answered_us };
        self.at_us(landed_us, Event::Land(number));
    }

    fn fate(&mut self, own: &str, at: f64) -> End {
        if self.refusal(own, at).is_some() && self.has(Fault::Throttle) && self.chance.hits(0.8) {
            return End::Throttled;
        }
        for (fault, end, probability) in [
            (Fault::Error, End::Error, 0.12),
            (Fault::Throttle, End::Throttled, 0.07),
            (Fault::Lost, End::Lost, 0.04),
        ] {
            if self.has(fault) && self.chance.hits(probability) {
                return end;
            }
        }
        End::Good
    }

    /// Whether the account is being refused, or the whole application.
    fn refusal(&self, own: &str, at: f64) -> Option<Scope> {
        let mut active = ["", own].into_iter().filter_map(|holder| self.refusals.get(holder));
        active.find(|refusal| at < refusal.until).map(|refusal| refusal.scope)
    }

    /// A refusal, for which scope and how long, ms. It lasts for a while: calls of the connection that are on their way
    /// are refused too, mostly for less time than the first.
    fn refuse(&mut self, own: String, at: f64) -> (Scope, i64) {
        if let Some(scope) = self.refusal(&own, at) {
            return (scope, self.chance.pick(&[10, 10, 300, 1_000, 8_000]));
        }
        let scope = self.chance.pick(&[
            Scope::App,
            Scope::Connection,
            Scope::Connection,
            Scope::Group,
            Scope::Device,
        ]);
        // Some go on refusing for long, and always tell to wait for less.
        let longest = self.chance.pick(&[2_000.0, 2_000.0, 20_000.0]);
        let until = at + self.chance.share(100.0, longest);
        self.refuse_those_in_flight(&own, scope, at);
        let holder = if scope == Scope::App { String::new() } else { own };
        self.refusals.insert(holder, Refusal { until, scope });
        (scope, self.chance.within(2_000, 8_000))
    }

    /// Calls that the cloud has taken in and not answered yet are refused with the others.
    fn refuse_those_in_flight(&mut self, own: &str, scope: Scope, at: f64) {
        let in_flight = self.outs.iter().filter(|(_, out)| out.end == End::Good && out.answered > at);
        let mut found: Vec<_> = in_flight
            .filter(|(_, out)| scope == Scope::App || connection(&out.grant.lane) == own)
            .map(|(number, _)| *number)
            .collect();
        found.sort_unstable();
        for number in found {
            let wait = self.chance.pick(&[10, 10, 300]);
            let out = self.outs.get_mut(&number).expect("a call");
            (out.end, out.hold, out.call.fails) = (End::Throttled, Some((scope, wait)), true);
        }
    }

    /// The cloud has answered.
    pub fn answer_step(&mut self, number: i64, at_us: i64) {
        let Some(out) = self.outs.get(&number) else { return };
        let wrong = self.referee.answered(&out.call.clone(), at_us as f64 / 1_000.0);
        self.wrong.extend(wrong);
    }

    /// What the worker makes of the answer.
    pub fn judge(&mut self, number: i64) -> Settlement {
        let out = &self.outs[&number];
        let (grant, end, hold) = (out.grant.clone(), out.end, out.hold);
        let sent = UnixMs(out.sent.unwrap_or_default() as i64);
        let mut settlement = Settlement { end, ..Settlement::unsent(grant.call) };
        let wait = self.chance.within(100, 8_000) as u64;
        let intervals = 1 << self.chance.within(0, 3);
        for job in &grant.jobs {
            let verdict = match end {
                End::Good if self.has(Fault::Error) && self.chance.hits(0.08) => self.chance.pick(&[
                    Some(Verdict::Miss(intervals, FailureKind::Gone)),
                    Some(Verdict::Miss(intervals, FailureKind::NoData)),
                    Some(Verdict::Drop(job.version)),
                    None,
                ]),
                End::Good => Some(Verdict::Done(sent)),
                End::Error | End::Lost if self.chance.hits(0.2) => {
                    Some(Verdict::Later(wait, FailureKind::Transient))
                }
                End::Error | End::Lost => Some(Verdict::Miss(intervals, FailureKind::Transient)),
                End::Throttled | End::Unsent => Some(Verdict::Again),
            };
            settlement.jobs.extend(verdict.map(|verdict| (job.id, verdict)));
        }
        if let Some((scope, wait)) = hold.filter(|_| end == End::Throttled) {
            let until = UnixMs(self.now + wait);
            let device = self.model.jobs[&grant.jobs[0].id.0].entry.job.device;
            // Sometimes more was reported than counts, or nothing.
            let reported_until =
                self.chance.pick(&[Some(until), Some(until), Some(until.plus_ms(30_000)), None]);
            let refusal = Some(paceline::words::Refusal { reported_until });
            let hold = Hold { scope, until, reason: "HTTP 429".to_owned(), refusal };
            settlement.holds.push((hold, (scope == Scope::Device).then_some(device)));
        }
        if end == End::Good && self.has(Fault::Unsolicited) && self.chance.hits(0.2) {
            settlement.unsolicited = self.unsolicited(&grant.lane, grant.resource.as_str(), sent);
        }
        settlement
    }

    /// Devices of the connection that the answer has records of without being asked.
    fn unsolicited(&mut self, lane: &str, resource: &str, sent: UnixMs) -> Vec<(JobId, UnixMs)> {
        let own = connection(lane);
        let mut found = Vec::new();
        for (id, job) in &self.model.jobs {
            let job = &job.entry.job;
            let alike = connection(&job.lane()) == own && job.resource.as_str() == resource;
            if alike && self.chance.hits(0.3) {
                found.push((JobId(*id), sent));
            }
        }
        found
    }

    /// The holds that a settlement reports, by the scope that each stops.
    pub fn scopes_held(&self, settlement: &Settlement) -> Vec<ReportedHold> {
        let lane = self.outs.get(&settlement.call.0).map_or(String::new(), |out| out.grant.lane.clone());
        let of = |(hold, device): &(Hold, Option<paceline::words::DeviceId>)| {
            let scope = match (hold.scope, device) {
                (Scope::App, _) => String::new(),
                (Scope::Group, _) => lane.clone(),
                (Scope::Device, Some(device)) => format!("#{device}"),
                (Scope::Connection | Scope::Device, _) => connection(&lane).to_owned(),
            };
            let reported = hold.refusal.and_then(|refusal| refusal.reported_until);
            ReportedHold {
                scope,
                until: hold.until.0,
                reported_until: reported.map_or(0, |reported| reported.0),
            }
        };
        settlement.holds.iter().map(of).collect()
    }
}
