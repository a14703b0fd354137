//! A job's record, packed by the scripts and by its layout told here: a change of one alone is seen.

use crate::support::TestApp;
use paceline::redis::Script;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};

/// The fields of a record, as the scripts call them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    class: u8,
    shared: bool,
    dropped: bool,
    urgent: bool,
    kind: u8,
    attempts: u8,
    interval: u32,
    offset: u32,
    due: u64,
    last: u64,
    version: u32,
    device: u64,
    lane: String,
    resource: String,
}

const SIX_BYTES: u64 = 1 << 48;

fn record() -> impl Strategy<Value = Record> {
    let flags = (any::<[bool; 3]>(), 1_u8..6, 0_u8..16, any::<u8>());
    let times = (1_u32.., any::<u32>(), 0..SIX_BYTES, 0..SIX_BYTES);
    let group = prop::collection::vec(any::<char>(), 0..20);
    let lane = (any::<u32>(), group).prop_map(|(connection, group)| {
        format!("{connection}.{}", String::from_iter(group).replace('\0', ""))
    });
    let resource = prop::collection::vec(prop::char::range('a', 'z'), 1..20).prop_map(String::from_iter);
    let names = (any::<u32>(), 0..SIX_BYTES, lane, resource);
    (flags, times, names).prop_map(|(flags, times, names)| {
        let ([shared, dropped, urgent], class, kind, attempts) = flags;
        let ((interval, offset, due, last), (version, device, lane, resource)) = (times, names);
        Record {
            class,
            shared,
            dropped,
            urgent,
            kind,
            attempts,
            interval,
            offset,
            due,
            last,
            version,
            device,
            lane,
            resource,
        }
    })
}

impl Record {
    /// In hexadecimal.
    fn bytes(&self) -> String {
        let flags =
            u8::from(self.dropped) + 2 * u8::from(self.shared) + 4 * u8::from(self.urgent) + 16 * self.kind;
        let six = |number: u64| number.to_le_bytes()[..6].to_vec();
        let bytes = [
            vec![1, self.class, flags, self.attempts],
            self.interval.to_le_bytes().to_vec(),
            self.offset.to_le_bytes().to_vec(),
            six(self.due),
            six(self.last),
            self.version.to_le_bytes().to_vec(),
            six(self.device),
            [self.lane.as_bytes(), &[0]].concat(),
            [self.resource.as_bytes(), &[0]].concat(),
        ];
        bytes.concat().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// After a success that was sent at this instant.
    fn succeeded(&self, sent: u64) -> Self {
        let (interval, last) = (i128::from(self.interval), self.last.max(sent));
        let from = i128::from(last.max(self.due)) - i128::from(self.offset);
        let point = (from.div_euclid(interval) + 1) * interval + i128::from(self.offset);
        let due = if self.urgent { point.min(i128::from(last) + interval) } else { point };
        Self { last, due: due as u64, urgent: false, kind: 0, attempts: 0, ..self.clone() }
    }
}

/// For each record: packed, unpacked again from the bytes that Rust made, and packed after a success.
const BOTH_WAYS: &str = "-- Uses: Record
local found = {}
local function to_hex(text) return (text:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end
local function from_hex(hex) return (hex:gsub('%x%x', function(c) return string.char(tonumber(c, 16)) end)) end
for i, given in ipairs(cmsgpack.unpack(ARGV[1])) do
  local record, bytes, sent = given[1], from_hex(given[2]), given[3]
  local j = Record.unpack('7', bytes)
  local fields = {}
  for name in pairs(record) do fields[name] = j[name] or false end
  found[i] = { to_hex(Record.pack(record)), fields, to_hex(Record.succeeded(bytes, record.shared, sent) or '') }
end
return cmsgpack.pack(found)";

#[tokio::test]
async fn record_packed_in_lua_and_in_rust_is_the_same() {
    let app = TestApp::with(&[]).await.app;
    // Dropped ones have no success; the grid's next point must fit, too.
    let records = prop::collection::vec((record(), 0..SIX_BYTES / 2), 500);
    let records = records.new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let script = Script::new("record", BOTH_WAYS, &[]);
    let given: Vec<_> = records.iter().map(|(record, sent)| (record, record.bytes(), sent)).collect();
    let packed = script.pack(&given).unwrap();
    let found: Vec<(String, Record, String)> = script.ask(&app.redis, "{p}:", &[&packed]).await.unwrap();
    assert_eq!(found.len(), records.len());
    for ((record, sent), (bytes, unpacked, succeeded)) in records.iter().zip(&found) {
        assert_eq!(*bytes, record.bytes(), "{record:?}");
        assert_eq!(unpacked, record);
        let after = record.succeeded(*sent);
        let expected = if record.dropped { String::new() } else { after.bytes() };
        if after.due < SIX_BYTES {
            assert_eq!(*succeeded, expected, "{record:?} sent {sent}");
        }
    }
}
