//! `device import`: which rows are added, which are refused, and the errors.

use super::{Binary, Run};
use serde_json::{Value, json};

const IMPORT: [&str; 6] = ["device", "import", "--tenant", "acme", "--connection", "main"];

impl Binary {
    fn import(&self, more: &[&str], input: impl AsRef<[u8]>) -> Run {
        self.run_with(&[&IMPORT, more].concat(), input.as_ref())
    }

    /// The tally of an import from standard input.
    fn tally(&self, input: impl AsRef<[u8]>) -> Value {
        self.import(&["--json"], input).json()
    }

    fn devices(&self) -> Vec<Value> {
        self.json("device list --tenant acme")["devices"].as_array().expect("devices").clone()
    }
}

async fn binary() -> Binary {
    let binary = Binary::new().await;
    binary.connect();
    binary
}

fn counts(tally: &Value) -> [i64; 4] {
    ["read", "added", "refused", "devices"]
        .map(|key| tally[key].as_i64().unwrap_or_else(|| panic!("{tally}")))
}

fn errors(tally: &Value) -> Vec<String> {
    let errors = tally["errors"].as_array().expect("errors");
    errors.iter().map(|e| format!("row {}: {}", e["row"], e["error"].as_str().expect("text"))).collect()
}

#[tokio::test]
async fn csv_may_have_several_rows_per_device() {
    let binary = binary().await;
    let file = binary.file(
        "devices.csv",
        "external_id,name,group,resource,interval,priority\n\
         a,\"Kitchen, left\",home,state,30s,high\n\
         b,,,,,\n\
         a,,home,energy,5m,",
    );
    let run = binary.import(&["--file", &file], "").ok();
    assert_eq!(run.out, "Rows: 3 read, 3 added, 0 refused. Devices: 2.\n");
    let devices = binary.devices();
    assert_eq!(
        (devices[0]["name"].as_str(), devices[0]["group"].as_str()),
        (Some("Kitchen, left"), Some("home"))
    );
    assert_eq!(
        devices[0]["jobs"]["state"],
        json!({"interval":"30s","from":"device","priority":"high","state":"active"})
    );
    assert_eq!(devices[0]["jobs"]["energy"]["interval"], "5m");
    assert_eq!(
        devices[1]["jobs"],
        json!({"state":{"interval":"1m","from":"provider","priority":"normal","state":"active"}})
    );

    binary.run("set b --tenant acme --resource state --interval 5s").ok();
    assert_eq!(counts(&binary.import(&["--json", "--file", &file], "").ok().json()), [3, 3, 0, 2]);
    assert_eq!(
        binary.devices()[1]["jobs"]["state"]["interval"],
        "5s",
        "a row without jobs keeps the device's own"
    );
}

#[tokio::test]
async fn ndjson_is_recognised_by_extension_first_character_or_flag() {
    let binary = binary().await;
    let jobs = json!({"state": {"interval": "30s", "priority": "high"}});
    let row = |id: &str| json!({"external_id": id, "name": "A", "group": "", "jobs": jobs}).to_string();
    let file = binary.file("devices.ndjson", format!("{}\n{}\n", row("a"), r#"{"external_id":"b"}"#));
    assert_eq!(counts(&binary.import(&["--json", "--file", &file], "").ok().json()), [2, 2, 0, 2]);
    assert_eq!(counts(&binary.tally(format!("\n {}", row("c")))), [1, 1, 0, 1]);
    assert_eq!(counts(&binary.import(&["--json", "--format", "ndjson"], row("d")).ok().json()), [1, 1, 0, 1]);
    assert_eq!(binary.devices()[3]["jobs"]["state"]["priority"], "high");
    let as_csv = binary.import(&["--format", "csv"], row("e"));
    assert_eq!(as_csv.code, Some(1));
    assert!(as_csv.err.contains("unknown column"), "{as_csv:?}");
}

#[tokio::test]
async fn refused_rows_are_listed_and_the_others_added() {
    let binary = binary().await;
    let text = "external_id,group,resource,interval,priority\n\
                a,,state,10ms,\n\
                b,,state,30s,urgent\n\
                ,,,,\n\
                c,,power,,\n\
                d,,state,30s,high\n\
                d,,state,1m,\n\
                d,home,energy,1m,\n\
                e,,state\n\
                f,,state,often,\n";
    let run = binary.import(&[], text);
    assert_eq!((run.code, run.out.as_str()), (Some(1), "Rows: 9 read, 1 added, 8 refused. Devices: 1.\n"));
    let errors: Vec<_> = run.err.lines().collect();
    for (line, expected) in errors.iter().zip([
        "row 2: interval: an interval of 10ms is out of range; use 1s to 31days",
        "row 3: priority: \"urgent\"",
        "row 4: external_id: it is empty",
        "row 5: resource: provider meadow has no resource \"power\"",
        "row 7: device \"d\" has this resource already, see row 6",
        "row 8: device \"d\" is in another group in row 6",
        "row 9: it has 3 fields where the header has 5",
        "row 10: interval: \"often\" is not an interval",
        "paceline: 8 of 9 rows were refused",
    ]) {
        assert!(line.starts_with(expected), "{expected}: {line}");
    }
    assert_eq!((errors.len(), binary.devices().len()), (9, 1));
}

#[tokio::test]
async fn all_or_nothing_adds_nothing_if_a_row_is_refused() {
    let binary = binary().await;
    let bad = "external_id,interval\na,30s\nb,10ms\nc,never\n";
    let file = binary.file("bad.csv", bad);
    for run in [
        binary.import(&["--all-or-nothing", "--json"], bad),
        binary.import(&["--all-or-nothing", "--json", "--file", &file], ""),
    ] {
        assert_eq!((run.code, counts(&run.json())), (Some(1), [3, 0, 2, 1]));
        assert!(errors(&run.json())[1].starts_with("row 4: interval: "), "{run:?}");
    }
    assert!(binary.devices().is_empty());
    let run = binary.import(&["--all-or-nothing", "--json"], "external_id\na\nb\n").ok();
    assert_eq!((counts(&run.json()), binary.devices().len()), ([2, 2, 0, 2], 2));
}

#[tokio::test]
async fn boms_blank_lines_bad_encoding_and_long_lines_are_handled() {
    let binary = binary().await;
    let windows = "\u{feff}external_id,name\r\n\r\na,A\r\n  \r\nb,B";
    assert_eq!(counts(&binary.tally(windows)), [2, 2, 0, 2]);
    assert_eq!(counts(&binary.tally("")), [0, 0, 0, 0]);
    assert_eq!(counts(&binary.tally("\u{feff}{\"external_id\":\"c\"}\r\n")), [1, 1, 0, 1]);

    let mut bytes = b"external_id,name\nd,caf\xe9\ne,".to_vec();
    bytes.extend(vec![b'x'; 1 << 20]);
    bytes.extend(b"\nf,\"never closed\ng,G\nh,a\x00b\n");
    let tally = binary.tally(bytes);
    assert_eq!(counts(&tally), [5, 1, 4, 1]);
    let errors = errors(&tally);
    assert!(errors[0].starts_with("row 2: byte 6 of the line, 0xe9, is not UTF-8"), "{errors:?}");
    assert!(errors[1].starts_with("row 3: the line is longer than 65536 bytes"), "{errors:?}");
    assert!(errors[2].starts_with("row 4: a quote is not closed"), "{errors:?}");
    assert!(
        errors[3].starts_with("row 6: name: it contains the control or invisible character"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn files_of_another_format_are_refused() {
    let binary = binary().await;
    for (text, error) in [
        ("external_id;name\na;A\n", "row 1: the header has an unknown column"),
        ("name,group\nA,home\n", "row 1: the header lacks the column external_id"),
        ("a\nb\n", "row 1: the header has an unknown column \"a\""),
    ] {
        binary.import(&[], text).refused(1, &[error]);
    }
    let tally = binary.tally("[\n{\"external_id\":\"a\",\"intervall\":\"1s\"}\n]\n");
    assert_eq!(counts(&tally), [3, 0, 3, 0]);
    assert!(errors(&tally)[1].contains("unknown field `intervall`"), "{tally}");
    binary.import(&["--file", "nowhere.csv"], "").refused(2, &["nowhere.csv"]);
    binary.run("device import --tenant acme --connection no").refused(1, &["\"no\""]);
}

#[tokio::test]
async fn device_may_repeat_after_its_batch_and_listed_errors_are_bounded() {
    let binary = binary().await;
    let mut text = "external_id,name,resource,interval\n".to_owned();
    for n in 0..2_500 {
        text += &format!("d{n},Device {n},state,30s\n");
    }
    text += "d0,,energy,5m\nd1,,state,30s\n";
    let tally = binary.tally(&text);
    assert_eq!(counts(&tally), [2_502, 2_501, 1, 2_500]);
    assert!(errors(&tally)[0].contains("see row 3"), "{tally}");
    let devices = binary.devices();
    assert_eq!((devices.len(), devices[0]["name"].as_str()), (2_500, Some("Device 0")));
    assert_eq!(devices[0]["jobs"].as_object().map(|jobs| jobs.len()), Some(2));

    let refused = binary.import(&["--all-or-nothing"], text.replace("30s", "1ms"));
    assert!(
        refused.err.contains("… further refused rows") && refused.err.lines().count() == 102,
        "{refused:?}"
    );
    assert!(refused.out.contains("2502 read, 0 added, 2501 refused"), "{refused:?}");
}
