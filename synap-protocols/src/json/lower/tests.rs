use proptest::prelude::*;
use synap_core::command::table;
use synap_core::execute::state::Rows as _;
use synap_core::grammar::generate::{self, Choices};
use synap_core::testing::numbers;

use super::*;
use crate::json::members::clash;
use crate::json::render;
use crate::json::samples::*;
use crate::spec::Access;

fn shown(words: &Words) -> String {
    let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
    words.join(" ")
}

/// The arguments lower to the words, which are joined with blanks here.
#[track_caller]
fn lowers(args: &[ArgSpec], json: &str, words: &str) {
    match lower(&["X"], args, json.as_bytes()) {
        Ok(lowered) => assert_eq!(shown(&lowered), format!("X {words}").trim_end()),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn refuses(args: &[ArgSpec], json: &str, sentence: &str) {
    match lower(&["X"], args, json.as_bytes()) {
        Ok(lowered) => panic!("it lowers to {}", shown(&lowered)),
        Err(error) => assert_eq!(error.to_string(), format!("ERR {sentence}")),
    }
}

#[track_caller]
fn lowers_query(args: &[ArgSpec], segments: &[&str], query: &str, words: &str) {
    match lower_query(&["X"], args, segments, query) {
        Ok(lowered) => assert_eq!(shown(&lowered), format!("X {words}").trim_end()),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn refuses_query(args: &[ArgSpec], segments: &[&str], query: &str, sentence: &str) {
    let error = lower_query(&["X"], args, segments, query).expect_err("no words");
    assert_eq!(error.to_string(), format!("ERR {sentence}"));
}

#[test]
fn words_begin_with_the_name_of_the_command() {
    for text in ["", " \n", "{}", " { } "] {
        let words = lower(&["CLIENT", "ID"], &[], text.as_bytes()).expect("no arguments");
        assert_eq!(words.iter().collect::<Vec<_>>(), [b"CLIENT".as_slice(), b"ID"]);
    }
}

#[test]
fn members_become_words_in_the_order_of_the_grammar() {
    lowers(SET, r#"{"value":"v","key":"k"}"#, "k v");
    lowers(SET, r#"{"ex":10,"get":true,"nx":true,"key":"k","value":"v"}"#, "k v NX GET EX 10");
    lowers(SET, r#"{"key":"k","value":"v","keep_ttl":true}"#, "k v KEEPTTL");
    lowers(SCAN, r#"{"count":10,"cursor":"0","match":"a*"}"#, "0 MATCH a* COUNT 10");
    lowers(SPOP, r#"{"key":"k"}"#, "k");
    lowers(SPOP, r#"{"key":"k","count":9007199254740993}"#, "k 9007199254740993");
}

#[test]
fn null_and_false_are_absent() {
    lowers(SET, r#"{"key":"k","value":"v","nx":false,"xx":true,"ex":null,"px":5,"get":null}"#, "k v XX PX 5");
    lowers(SPOP, r#"{"key":"k","count":null}"#, "k");
    refuses(SET, r#"{"key":null,"value":"v"}"#, "argument `key` is missing");
    refuses(GET, r#"{"key":"k","other":null}"#, "argument `other` is not known");
}

#[test]
fn values_are_bytes_as_the_one_rule_says() {
    lowers(SET, r#"{"key":1.0,"value":1e400}"#, "1.0 1e400");
    lowers(SET, r#"{"key":{"base64":"aw=="},"value":{ "a" : [ 1 ] }}"#, r#"k {"a":[1]}"#);
    lowers(SET, r#"{"key":"k","value":[ 1, 2 ]}"#, "k [1,2]");
    refuses(
        SET,
        r#"{"key":"k","value":true}"#,
        "argument `value` is true where a value is wanted: put it in quotes to send the text",
    );
    refuses(
        SET,
        r#"{"key":"k","value":{"base64":"a*"}}"#,
        "argument `value` is not base64: Invalid symbol 42, offset 1.",
    );
    refuses(SPOP, r#"{"key":"k","count":[1]}"#, "argument `count` must be a number");
    refuses(SET, r#"{"key":"k","value":"v","nx":"yes"}"#, "argument `nx` must be true or false");
}

#[test]
fn a_repeated_value_is_an_array_or_one_value() {
    lowers(DEL, r#"{"keys":["a","b",3]}"#, "a b 3");
    lowers(DEL, r#"{"keys":"a"}"#, "a");
    lowers(DEL, r#"{"keys":{"base64":"YQ"}}"#, "a");
    lowers(DEL, r#"{"keys":["a",{"base64":"YQ"},["x"]]}"#, r#"a a ["x"]"#);
    refuses(DEL, r#"{"keys":[]}"#, "argument `keys` is empty where at least one is needed");
    refuses(DEL, r#"{"keys":["a",null]}"#, "argument `keys`, item 2: argument `keys` is null where a value is wanted");
    lowers(HEXPIRE, r#"{"key":"k","seconds":1,"fields":["a","b"],"nx":true}"#, "k 1 NX FIELDS 2 a b");
    lowers(SORT, r#"{"key":"k","get":["a","b"],"alpha":true}"#, "k GET a GET b ALPHA");
    lowers(SORT, r#"{"key":"k","get":"a"}"#, "k GET a");
}

#[test]
fn a_count_without_token_is_there_when_it_is_zero() {
    lowers(EVAL, r#"{"script":"return 1"}"#, "return 1 0");
    lowers(EVAL, r#"{"script":"s","keys":[],"args":["a"]}"#, "s 0 a");
    lowers(EVAL, r#"{"script":"s","keys":["k"]}"#, "s 1 k");
}

#[test]
fn a_repeated_block_has_four_forms() {
    lowers(HSET, r#"{"key":"k","fields":[{"value":1,"field":"a"},{"field":"b","value":2}]}"#, "k a 1 b 2");
    lowers(HSET, r#"{"key":"k","fields":[["a",1],["b",2]]}"#, "k a 1 b 2");
    lowers(HSET, r#"{"key":"k","fields":{"b":"1","a":2}}"#, "k b 1 a 2");
    lowers(HSET, r#"{"key":"user:1","field":"name","value":"Ann"}"#, "user:1 name Ann");
    lowers(MSET, r#"{"entries":{"a":1,"base64:Yg":2}}"#, "a 1 b 2");
    lowers(MSET, r#"{"key":"a","value":1}"#, "a 1");
    lowers(MSETEX, r#"{"key":"a","value":1,"ex":5}"#, "1 a 1 EX 5");
    lowers(MSETEX, r#"{"entries":{"a":1,"b":2}}"#, "2 a 1 b 2");
    lowers(XREAD, r#"{"streams":{"s":"0"},"count":1}"#, "COUNT 1 STREAMS s 0");
}

#[test]
fn the_forms_of_a_block_do_not_mix() {
    refuses(
        HSET,
        r#"{"key":"k","fields":{"a":1},"field":"b","value":2}"#,
        "arguments `fields` and `field` say the same in two ways: give one of them",
    );
    refuses(HSET, r#"{"key":"k","fields":"a"}"#, "argument `fields` must be an array, or an object of pairs");
    refuses(
        HSET,
        r#"{"key":"k","fields":["a",1]}"#,
        "argument `fields`, item 1: argument `fields` must be an object, or an array of its parts in order",
    );
    refuses(HSET, r#"{"key":"k","fields":[["a"]]}"#, "argument `fields`, item 1: argument `value` is missing");
    refuses(
        HSET,
        r#"{"key":"k","fields":[["a",1,2]]}"#,
        "argument `fields`, item 1: argument `fields` has more than 2 items",
    );
    refuses(
        HSET,
        r#"{"key":"k","fields":[["a",1],{"field":"a","valeu":1}]}"#,
        "argument `fields`, item 2: argument `value` is missing",
    );
    refuses(HSET, r#"{"key":"k","field":"a"}"#, "argument `value` is missing");
    refuses(HSET, r#"{"key":"k"}"#, "argument `fields` is missing");
    refuses(
        HSET,
        r#"{"key":"k","fields":{"base64":"YQ=="}}"#,
        "argument `fields` is bytes where pairs are wanted: the name `base64` is written `base64:YmFzZTY0`",
    );
    refuses(
        HSET,
        r#"{"key":"k","fields":{"a":null}}"#,
        "argument `fields`, member `a`: argument `value` is null where a value is wanted",
    );
}

#[test]
fn a_block_is_its_parts_or_has_its_own_name() {
    for json in [
        r#"{"key":"k","offset":0,"count":5}"#,
        r#"{"key":"k","limit":{"count":5,"offset":0}}"#,
        r#"{"key":"k","limit":[0,5]}"#,
    ] {
        lowers(SORT, json, "k LIMIT 0 5");
    }
    refuses(SORT, r#"{"key":"k","offset":0}"#, "argument `count` is missing");
    lowers(HELLO, "{}", "");
    lowers(HELLO, r#"{"protover":3}"#, "3");
    lowers(HELLO, r#"{"protover":3,"username":"u","password":"p","setname":"n"}"#, "3 AUTH u p SETNAME n");
    lowers(HELLO, r#"{"arguments":{"protover":3,"auth":["u","p"]}}"#, "3 AUTH u p");
    refuses(HELLO, r#"{"username":"u"}"#, "argument `protover` is missing");
}

#[test]
fn a_choice_takes_one_alternative() {
    refuses(SET, r#"{"key":"k","value":"v","nx":true,"xx":true}"#, "arguments `nx` and `xx` exclude each other");
    refuses(SET, r#"{"key":"k","value":"v","ex":1,"px":1}"#, "arguments `ex` and `px` exclude each other");
    lowers(
        BLMOVE,
        r#"{"source":"a","destination":"b","from":"left","to":"RIGHT","timeout":0.5}"#,
        "a b LEFT RIGHT 0.5",
    );
    refuses(
        BLMOVE,
        r#"{"source":"a","destination":"b","from":"up","to":"RIGHT","timeout":0}"#,
        "argument `from` must be one of LEFT, RIGHT",
    );
    refuses(BLMOVE, r#"{"source":"a","destination":"b","to":"RIGHT","timeout":0}"#, "argument `from` is missing");
}

#[test]
fn a_member_of_several_alternatives_does_not_choose() {
    lowers(GEOSEARCH, r#"{"key":"k","from_member":"m","radius":5,"unit":"km"}"#, "k FROMMEMBER m BYRADIUS 5 KM");
    lowers(
        GEOSEARCH,
        r#"{"key":"k","longitude":1,"latitude":2,"width":5,"height":6,"unit":"m","limit":3,"any":true}"#,
        "k FROMLONLAT 1 2 BYBOX 5 6 M COUNT 3 ANY",
    );
    lowers(
        GEOSEARCH,
        r#"{"key":"k","from_lon_lat":[1,2],"by_box":{"width":5,"height":6,"unit":"m"}}"#,
        "k FROMLONLAT 1 2 BYBOX 5 6 M",
    );
    refuses(
        GEOSEARCH,
        r#"{"key":"k","from_member":"m","unit":"km"}"#,
        "one of the arguments `by_radius`, `by_box` is missing",
    );
    refuses(
        GEOSEARCH,
        r#"{"key":"k","from_member":"m","by_radius":[5,"km"],"unit":"m"}"#,
        "arguments `by_radius` and `unit` say the same in two ways: give one of them",
    );
}

#[test]
fn repeated_choices_are_objects_with_one_alternative_each() {
    lowers(
        BITFIELD,
        r#"{"key":"k","operations":[{"get":["u8",0]},{"overflow":"sat"},{"set":{"encoding":"u8","offset":0,"value":1}}]}"#,
        "k GET u8 0 OVERFLOW SAT SET u8 0 1",
    );
    lowers(BITFIELD, r#"{"key":"k","operations":[{"encoding":"u8","offset":0,"value":1}]}"#, "k SET u8 0 1");
    lowers(BITFIELD, r#"{"key":"k","operations":{"get":["u8",0]}}"#, "k GET u8 0");
    lowers(BITFIELD, r#"{"key":"k","operations":[]}"#, "k");
    refuses(
        BITFIELD,
        r#"{"key":"k","operations":[{"encoding":"u8","offset":0}]}"#,
        "argument `operations`, item 1: one of the arguments `get`, `set`, `overflow` is missing",
    );
}

#[test]
fn names_are_given_once_and_known() {
    refuses(GET, r#"{"key":"a","k\u0065y":"b"}"#, "argument `key` is given more than once");
    refuses(GET, r#"{"key":"a","kye":"b"}"#, "argument `kye` is not known");
    refuses(HSET, r#"{"key":"k","fields":{"a":1,"\u0061":2}}"#, "argument `a` is given more than once");
    refuses(GET, "{}", "argument `key` is missing");
    refuses(GET, "[]", "the arguments must be a JSON object");
    refuses(GET, r#""key""#, "the arguments must be a JSON object");
}

#[test]
fn a_block_whose_names_are_taken_has_its_own_name_only() {
    const ARGS: &[ArgSpec] = &[
        ArgSpec { optional: true, ..arg("count", ArgKind::Bytes) },
        ArgSpec { token: "LIMIT", optional: true, ..arg("limit", ArgKind::Block(&[arg("count", ArgKind::Bytes)])) },
    ];
    assert_eq!(clash(ARGS), Some("count"));
    lowers(ARGS, r#"{"count":1}"#, "1");
    lowers(ARGS, r#"{"limit":{"count":2},"count":1}"#, "1 LIMIT 2");
}

#[test]
fn hostile_text_is_answered() {
    let many: String = (0..=MEMBER_COUNT_MAX).map(|i| format!("\"m{i}\":1,")).collect();
    refuses(GET, &format!("{{{many}\"key\":1}}"), "too many arguments are named");
    let deep = format!("{{\"key\":{}", "[".repeat(100_000));
    assert!(lower(&["X"], GET, deep.as_bytes()).is_err());
    refuses(GET, r#"{"key":"\ud800"}"#, "the text is not JSON at byte 14: half of a surrogate pair is missing");
    let huge = format!("{{\"keys\":[{}1]}}", "1,".repeat(crate::json::words::WORD_COUNT_MAX));
    let error = lower(&["X"], DEL, huge.as_bytes()).expect_err("too many words");
    assert!(error.text.ends_with("too many arguments in one call"), "{error}");
}

#[test]
fn a_hundred_thousand_pairs_are_read_in_one_pass() {
    let pairs: String = (0..100_000).map(|i| format!(",\"f{i}\":{i}")).collect();
    let words = lower(&["HSET"], HSET, format!("{{\"key\":\"k\",\"fields\":{{{}}}}}", &pairs[1..]).as_bytes());
    assert_eq!(words.expect("words").len(), 200_002);
}

#[test]
fn paths_and_queries_hold_arguments() {
    lowers_query(HGET, &["user%3A1", "a%2Fb+c"], "", "user:1 a/b+c");
    lowers_query(HGET, &["user:1"], "field=two+words", "user:1 two words");
    lowers_query(HGET, &[], "field=f&key=k", "k f");
    let words = lower_query(&["GET"], GET, &[""], "").expect("words");
    assert_eq!(words.iter().collect::<Vec<_>>(), [b"GET".as_slice(), b""]);
    lowers_query(SCAN, &["0"], "match=a*&count=10", "0 MATCH a* COUNT 10");
    lowers_query(SET, &["k", "v"], "nx&get=true&ex=5&xx=false", "k v NX GET EX 5");
    lowers_query(DEL, &[], "keys=a&keys=b", "a b");
    lowers_query(SORT, &["k"], "limit=%5B0%2C5%5D&get=a&get=b", "k LIMIT 0 5 GET a GET b");
    lowers_query(SORT, &["k"], "offset=0&count=5", "k LIMIT 0 5");
    lowers_query(XREAD, &[], "key=a&id=0&key=b&id=5&count=1", "COUNT 1 STREAMS a 0 b 5");
    lowers_query(BLMOVE, &["a", "b", "left", "RIGHT", "0"], "", "a b LEFT RIGHT 0");
    let words = lower_query(&["GET"], GET, &["%ff%00"], "").expect("words");
    assert_eq!(words.iter().collect::<Vec<_>>(), [b"GET".as_slice(), b"\xff\x00"]);
}

#[test]
fn paths_and_queries_that_fit_nothing_are_refused() {
    refuses_query(GET, &["a", "b"], "", "the path has too many segments at `b`");
    refuses_query(DEL, &["a"], "", "the path has too many segments at `a`");
    refuses_query(GET, &["a"], "key=b", "argument `key` is given more than once");
    refuses_query(GET, &["a"], "kye=b", "argument `kye` is not known");
    refuses_query(GET, &["%4"], "", "`%4` is not percent-encoded: two digits must follow %");
    refuses_query(GET, &["a"], "%ff=b", "argument `\u{fffd}` is not known");
    refuses_query(SET, &["k", "v"], "nx=maybe", "argument `nx` must be true or false");
    refuses_query(
        XREAD,
        &[],
        "key=a&id=0&key=b",
        "argument `id` must be given 2 times, as often as those that go with it",
    );
    refuses_query(SORT, &["k"], "limit=%5B", "the text is not JSON at byte 1: a value was expected");
}

/// Specs of any shape, named without clashes.
fn any_specs() -> impl Strategy<Value = Vec<ArgSpec>> {
    let kind = prop_oneof![
        4 => Just(ArgKind::Bytes),
        2 => Just(ArgKind::Key(Access::RO)),
        1 => Just(ArgKind::Int { min: -5, max: i64::MAX }),
        1 => Just(ArgKind::Float { min: f64::NEG_INFINITY, max: f64::INFINITY, infinite: true }),
        2 => Just(ArgKind::Flag),
    ];
    let spec = (kind, any::<bool>(), any::<bool>(), 0..4u8).prop_map(|(kind, optional, has_token, repeat)| {
        let has_token = has_token || matches!(kind, ArgKind::Flag);
        let repeat = match repeat {
            _ if matches!(kind, ArgKind::Flag) => Repeat::Once,
            1 => Repeat::Many,
            2 => Repeat::Counted,
            3 if has_token => Repeat::EachWithToken,
            _ => Repeat::Once,
        };
        ArgSpec { optional, repeat, token: if has_token { "T" } else { "" }, ..arg("", kind) }
    });
    let nested = spec.prop_recursive(3, 24, 4, |inner| {
        (prop::collection::vec(inner, 1..4), 0..3u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(parts, kind, optional, has_token, repeats)| {
                let parts: &'static [ArgSpec] = Box::leak(parts.into_boxed_slice());
                let (kind, repeats) = match kind {
                    0 => (ArgKind::Block(parts), repeats),
                    1 => (ArgKind::OneOf(parts), repeats),
                    _ => (ArgKind::AnyOrder(parts), false),
                };
                let is_options = matches!(kind, ArgKind::AnyOrder(_));
                let token = if has_token && !is_options { "B" } else { "" };
                let repeat = if repeats { Repeat::Many } else { Repeat::Once };
                let optional = optional && !is_options;
                ArgSpec { optional, token, repeat, ..arg("", kind) }
            },
        )
    });
    prop::collection::vec(nested, 0..5).prop_map(|specs| {
        let mut next = 0;
        specs.iter().map(|spec| named(spec, &mut next)).collect()
    })
}

/// The same spec with names and tokens that occur nowhere else.
fn named(spec: &ArgSpec, next: &mut usize) -> ArgSpec {
    let number = *next;
    *next += 1;
    let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let mut parts = |parts: &[ArgSpec], optional: Option<bool>| -> &'static [ArgSpec] {
        let is_options = matches!(spec.kind, ArgKind::AnyOrder(_));
        let part = |part: &ArgSpec| {
            let part = named(part, next);
            let optional = optional.unwrap_or(part.optional) && !matches!(part.kind, ArgKind::AnyOrder(_));
            // An absent count would be a word, 0; an option has a token instead.
            let needs_token = is_options && part.repeat == Repeat::Counted && part.token.is_empty();
            ArgSpec { optional, token: if needs_token { part.name } else { part.token }, ..part }
        };
        Box::leak(parts.iter().map(part).collect::<Vec<_>>().into_boxed_slice())
    };
    let kind = match spec.kind {
        ArgKind::Block(inner) => ArgKind::Block(parts(inner, None)),
        // Options may be left out.
        ArgKind::AnyOrder(inner) => ArgKind::AnyOrder(parts(inner, Some(true))),
        ArgKind::OneOf(inner) => ArgKind::OneOf(parts(inner, Some(false))),
        kind => kind,
    };
    let token = if spec.token.is_empty() { "" } else { leaked(format!("{}{number}", spec.token)) };
    ArgSpec { name: leaked(format!("a{number}")), token, kind, ..*spec }
}

#[track_caller]
fn check(specs: &[ArgSpec], numbers: &[u32]) -> Result<(), TestCaseError> {
    let mut choices = Choices::new(numbers);
    let given = generate::arguments(specs, &mut choices);
    if given.iter().any(|given| is_silent(given, false)) {
        return Ok(()); // no member says that it is there
    }
    let mut expected = vec![b"X".to_vec()];
    expected.extend(generate::words(specs, &given));

    let json = render::json(specs, &given, &mut choices);
    match lower(&["X"], specs, json.as_bytes()) {
        Ok(words) => prop_assert_eq!(words.iter().collect::<Vec<_>>(), &*expected, "{}", json),
        Err(error) => prop_assert!(false, "{error}: {json}"),
    }

    let (segments, query) = render::query(specs, &given, &mut choices);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match lower_query(&["X"], specs, &segments, &query) {
        Ok(words) => prop_assert_eq!(words.iter().collect::<Vec<_>>(), &*expected, "{:?}?{}", segments, query),
        Err(error) => prop_assert!(false, "{error}: {segments:?}?{query}"),
    }
    Ok(())
}

/// Generated calls of each row.
const CALLS: u64 = 60;

#[test]
fn every_row_of_the_table_lowers_to_its_words() {
    for row in table().all() {
        assert_eq!(clash(row.args), None, "a name that two arguments of {} want", row.name);
        for seed in 0..CALLS {
            let numbers = numbers(seed.wrapping_mul(1_000_003) + row.id as u64, 400);
            check(row.args, &numbers).unwrap_or_else(|error| panic!("{}, seed {seed}: {error}", row.name));
        }
    }
}

/// Options of which none is given, or a block of nothing, chosen where only a member could say so.
fn is_silent(given: &generate::Given, must_speak: bool) -> bool {
    use generate::Given;
    match given {
        Given::Absent | Given::Flag | Given::Word(_) => false,
        Given::Group(parts) => {
            (must_speak && parts.iter().all(is_nothing)) || parts.iter().any(|part| is_silent(part, false))
        }
        Given::Choice(_, value) => is_silent(value, true),
        Given::Many(items) => items.iter().any(|item| is_silent(item, false)),
    }
}

fn is_nothing(given: &generate::Given) -> bool {
    match given {
        generate::Given::Group(parts) => parts.iter().all(is_nothing),
        given => *given == generate::Given::Absent,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn known_commands_lower_to_their_words(
        index in 0..ALL.len(),
        numbers in prop::collection::vec(any::<u32>(), 0..120),
    ) {
        check(ALL[index].1, &numbers)?;
    }

    #[test]
    fn any_command_lowers_to_its_words(
        specs in any_specs(),
        numbers in prop::collection::vec(any::<u32>(), 0..120),
    ) {
        check(&specs, &numbers)?;
    }

    #[test]
    fn any_object_is_answered(
        index in 0..ALL.len(),
        text in r#"\{("(key|keys|value|fields|get|limit|ex|operations|base64)":(["\[\]{},:a1-]|null|true|"x"|\[1\]){0,4},?){0,3}\}"#,
    ) {
        let _ = lower(&["X"], ALL[index].1, text.as_bytes());
        let _ = lower_query(&["X"], ALL[index].1, &[&text], &text);
    }
}
