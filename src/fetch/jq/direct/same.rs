//! Tests that direct execution and the interpreter agree: the same outputs in the same order, then the same error.

use super::super::program::Program;
use jaq_json::Val;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The program's outputs, and its error.
fn run(program: &Program, answer: &Val) -> (Vec<String>, Result<(), String>) {
    let mut yielded = Vec::new();
    let ended = program.run(answer, |found| {
        yielded.push(format!("{found:?}"));
        true
    });
    (yielded, ended)
}

fn agree(code: &str, answers: &[Value]) -> bool {
    let direct = Program::compile(code).unwrap_or_else(|error| panic!("{code}: {error}"));
    let interpreted = Program::compile_interpreted(code);
    for answer in answers {
        let answer: Val = serde_json::from_value(answer.clone()).unwrap();
        assert_eq!(run(&direct, &answer), run(&interpreted, &answer), "{code} of {answer}");
    }
    matches!(direct, Program::Direct(_))
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "value", "key"])
}

/// Generates texts of simple programs.
fn program() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(".".to_owned()),
        name().prop_map(|name| format!(".{name}")),
        name().prop_map(|name| format!(".{name}?")),
        (name(), name()).prop_map(|(a, b)| format!(".{a}.{b}")),
        Just(".[]".to_owned()),
        Just(".[]?".to_owned()),
        name().prop_map(|name| format!(".[].{name}")),
        Just(".[0]".to_owned()),
        prop::sample::select(vec![
            "1", "2.50", "1e400", "\"a\"", "null", "true", "false", "empty", "[]", "{}", "not"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let one = || inner.clone();
        let op = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "//", "|", ",",
        ]);
        prop_oneof![
            4 => (one(), op, one()).prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            2 => (name(), one(), name(), one()).prop_map(|(a, x, b, y)| format!("{{{a}: ({x}), {b}: ({y})}}")),
            1 => name().prop_map(|name| format!("{{{name}}}")),
            1 => one().prop_map(|x| format!("[{x}]")),
            1 => one().prop_map(|x| format!("({x})?")),
            1 => one().prop_map(|x| format!("-({x})")),
            2 => one().prop_map(|x| format!("select({x})")),
            2 => one().prop_map(|x| format!("map({x})")),
            1 => one().prop_map(|x| format!("({x}) | tostring")),
            1 => (one(), name()).prop_map(|(x, name)| format!("({x}).{name}")),
            1 => one().prop_map(|x| format!("({x})[]")),
            2 => (one(), one(), one()).prop_map(|(x, y, z)| format!("if {x} then {y} else {z} end")),
            1 => (one(), one()).prop_map(|(x, y)| format!("if {x} then {y} end")),
            1 => one().prop_map(|x| format!("with_entries(select(.value | ({x})))")),
            1 => one().prop_map(|x| format!("with_entries(select(.value.a == ({x})))")),
            1 => Just("with_entries(select(.value != null))".to_owned()),
        ]
    })
}

fn answer() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        Just(json!(1.5)),
        Just(json!(u64::MAX)),
        prop::sample::select(vec!["", "a", "b,a"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn direct_and_interpreted_results_agree(code in program(), answers in prop::collection::vec(answer(), 12)) {
        agree(&code, &answers);
    }
}

#[test]
fn simple_programs_run_directly_and_others_interpreted() {
    let answers =
        [json!(null), json!({"a": [{"b": 1, "value": null}, {"b": null}], "b": "x", "value": {"a": 2}})];
    for code in [
        ".a[] | {id: .b, values: {t: .value, \"x y\": (.b * 2)}}",
        ".a[] | (., .b) | {values: .}",
        "{b, values: (.value | with_entries(select(.value != null)))}",
        "with_entries(select(.value.a? // .value | not))",
        "if .a then .a[] elif .b == \"x\" then empty else . end",
        ".b == \"x\" and (.value.a > 1 or .nowhere)",
        "[.a[]? | select(.b != null)] | map(.b)",
        ".a.b? // .value.a.b? // null",
        "{a: 1, b: .a, a: 2} | .a",
        "{a: (.b | .c), b: empty}",
        ".b.c + empty, empty - .b.c",
        ".a[5], .a[0].b",
        "\"\\u00e4\\n\" + .b",
    ] {
        assert!(agree(code, &answers), "{code} runs directly");
    }
    for code in [
        "with_entries(select(.key != \"a\"))",
        "with_entries(select(. != null))",
        "with_entries(select(.value != null) | .value |= 1)",
        "{(.b): 1}",
        "{a: .a[]}",
        ".a[] as $x | $x",
        "def map(f): 1; map(.)",
        "try .b.c catch .",
        ".a[-1]",
        ".a |= 1",
        "[.a[].b] | add",
        "\"\\(.b)\"",
        "..",
    ] {
        assert!(!agree(code, &answers), "{code} is interpreted");
    }
}

#[test]
fn direct_program_is_stopped_at_the_limit() {
    let doubling = ["(.,.)"; 20].join("|");
    for code in
        [format!("{doubling} | select(false)"), format!("[{doubling}]?"), format!("[{doubling}] + empty")]
    {
        let program = Program::compile(&code).unwrap();
        assert!(matches!(program, Program::Direct(_)), "{code}");
        assert_eq!(
            program.run(&Val::Null, |_| true),
            Err("the program takes too many steps".to_owned()),
            "{code}"
        );
    }
    let deep = format!("{}.{}", "[".repeat(100), "]".repeat(100));
    assert!(matches!(Program::compile(&deep), Ok(Program::Interpreted(_))));
}
