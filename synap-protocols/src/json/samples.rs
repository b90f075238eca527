//! Argument specs of known commands, written by hand, for tests of everything that walks a spec tree.

use crate::spec::{Access, ArgKind, ArgSpec, Repeat};

pub const fn arg(name: &'static str, kind: ArgKind) -> ArgSpec {
    ArgSpec { name, doc: "", token: "", kind, optional: false, repeat: Repeat::Once }
}

const fn option(name: &'static str, token: &'static str, kind: ArgKind) -> ArgSpec {
    ArgSpec { token, optional: true, ..arg(name, kind) }
}

const fn flag(name: &'static str, token: &'static str) -> ArgSpec {
    option(name, token, ArgKind::Flag)
}

const fn any_order(options: &'static [ArgSpec]) -> ArgSpec {
    arg("options", ArgKind::AnyOrder(options))
}

const ANY_INT: ArgKind = ArgKind::Int { min: i64::MIN, max: i64::MAX };
const POSITIVE: ArgKind = ArgKind::Int { min: 1, max: i64::MAX };
const ANY_FLOAT: ArgKind = ArgKind::Float { min: f64::NEG_INFINITY, max: f64::INFINITY, infinite: true };
const TIMEOUT: ArgSpec = arg("timeout", ArgKind::Float { min: 0.0, max: 1e10, infinite: false });

const KEY: ArgSpec = ArgSpec { doc: "Name of the key.", ..arg("key", ArgKind::Key(Access::RW.and(Access::UPDATE))) };
const VALUE: ArgSpec = ArgSpec { doc: "Bytes to store.", ..arg("value", ArgKind::Bytes) };
const NX_XX: ArgKind = ArgKind::OneOf(&[flag("nx", "NX"), flag("xx", "XX")]);

pub const GET: &[ArgSpec] = &[KEY];
pub const HGET: &[ArgSpec] = &[KEY, arg("field", ArgKind::Bytes)];

pub const SET: &[ArgSpec] = &[
    KEY,
    VALUE,
    any_order(&[
        option("condition", "", NX_XX),
        flag("get", "GET"),
        option(
            "expiry",
            "",
            ArgKind::OneOf(&[option("ex", "EX", POSITIVE), option("px", "PX", POSITIVE), flag("keep_ttl", "KEEPTTL")]),
        ),
    ]),
];

const FIELD_VALUE: ArgKind = ArgKind::Block(&[arg("field", ArgKind::Bytes), VALUE]);
pub const HSET: &[ArgSpec] = &[KEY, ArgSpec { repeat: Repeat::Many, ..arg("fields", FIELD_VALUE) }];

const KEY_VALUE: ArgKind = ArgKind::Block(&[KEY, VALUE]);
pub const MSET: &[ArgSpec] = &[ArgSpec { repeat: Repeat::Many, ..arg("entries", KEY_VALUE) }];
pub const MSETEX: &[ArgSpec] = &[
    ArgSpec { repeat: Repeat::Counted, ..arg("entries", KEY_VALUE) },
    any_order(&[option("condition", "", NX_XX), option("ex", "EX", POSITIVE)]),
];

pub const SCAN: &[ArgSpec] = &[
    arg("cursor", ArgKind::Int { min: 0, max: i64::MAX }),
    any_order(&[
        option("match", "MATCH", ArgKind::Pattern),
        option("count", "COUNT", POSITIVE),
        option("type", "TYPE", ArgKind::Bytes),
    ]),
];

const SIDE: ArgKind = ArgKind::OneOf(&[flag("left", "LEFT"), flag("right", "RIGHT")]);
pub const BLMOVE: &[ArgSpec] = &[
    ArgSpec { name: "source", ..KEY },
    ArgSpec { name: "destination", ..KEY },
    arg("from", SIDE),
    arg("to", SIDE),
    TIMEOUT,
];

pub const HEXPIRE: &[ArgSpec] = &[
    KEY,
    arg("seconds", ANY_INT),
    option("condition", "", NX_XX),
    ArgSpec { token: "FIELDS", repeat: Repeat::Counted, ..arg("fields", ArgKind::Bytes) },
];

pub const SORT: &[ArgSpec] = &[
    KEY,
    any_order(&[
        option("by", "BY", ArgKind::Pattern),
        option("limit", "LIMIT", ArgKind::Block(&[arg("offset", ANY_INT), arg("count", ANY_INT)])),
        ArgSpec { repeat: Repeat::EachWithToken, ..option("get", "GET", ArgKind::Pattern) },
        option("order", "", ArgKind::OneOf(&[flag("asc", "ASC"), flag("desc", "DESC")])),
        flag("alpha", "ALPHA"),
        option("store", "STORE", ArgKind::Key(Access::OW)),
    ]),
];

pub const SPOP: &[ArgSpec] = &[KEY, option("count", "", ArgKind::Int { min: 0, max: i64::MAX })];
pub const DEL: &[ArgSpec] = &[ArgSpec { name: "keys", repeat: Repeat::Many, ..KEY }];

pub const ZADD: &[ArgSpec] = &[
    KEY,
    any_order(&[option("condition", "", NX_XX), flag("ch", "CH")]),
    ArgSpec {
        repeat: Repeat::Many,
        ..arg("members", ArgKind::Block(&[arg("score", ANY_FLOAT), arg("member", ArgKind::Bytes)]))
    },
];

const UNIT: ArgSpec = arg("unit", ArgKind::OneOf(&[flag("m", "M"), flag("km", "KM")]));
pub const GEOSEARCH: &[ArgSpec] = &[
    KEY,
    arg(
        "from",
        ArgKind::OneOf(&[
            option("from_member", "FROMMEMBER", ArgKind::Bytes),
            option(
                "from_lon_lat",
                "FROMLONLAT",
                ArgKind::Block(&[arg("longitude", ANY_FLOAT), arg("latitude", ANY_FLOAT)]),
            ),
        ]),
    ),
    arg(
        "by",
        ArgKind::OneOf(&[
            option("by_radius", "BYRADIUS", ArgKind::Block(&[arg("radius", ANY_FLOAT), UNIT])),
            option("by_box", "BYBOX", ArgKind::Block(&[arg("width", ANY_FLOAT), arg("height", ANY_FLOAT), UNIT])),
        ]),
    ),
    option("count", "COUNT", ArgKind::Block(&[arg("limit", POSITIVE), flag("any", "ANY")])),
];

pub const HELLO: &[ArgSpec] = &[option(
    "arguments",
    "",
    ArgKind::Block(&[
        arg("protover", ANY_INT),
        option("auth", "AUTH", ArgKind::Block(&[arg("username", ArgKind::Bytes), arg("password", ArgKind::Bytes)])),
        option("setname", "SETNAME", ArgKind::Bytes),
    ]),
)];

const CODE: ArgSpec = arg("encoding", ArgKind::Bytes);
const OFFSET: ArgSpec = arg("offset", ANY_INT);
pub const BITFIELD: &[ArgSpec] = &[
    KEY,
    ArgSpec {
        optional: true,
        repeat: Repeat::Many,
        ..arg(
            "operations",
            ArgKind::OneOf(&[
                option("get", "GET", ArgKind::Block(&[CODE, OFFSET])),
                option("set", "SET", ArgKind::Block(&[CODE, OFFSET, arg("value", ANY_INT)])),
                option("overflow", "OVERFLOW", ArgKind::OneOf(&[flag("wrap", "WRAP"), flag("sat", "SAT")])),
            ]),
        )
    },
];

pub const EVAL: &[ArgSpec] = &[
    arg("script", ArgKind::Bytes),
    ArgSpec { name: "keys", optional: true, repeat: Repeat::Counted, ..KEY },
    ArgSpec { optional: true, repeat: Repeat::Many, ..arg("args", ArgKind::Bytes) },
];

pub const XREAD: &[ArgSpec] = &[
    any_order(&[option("count", "COUNT", POSITIVE)]),
    ArgSpec {
        token: "STREAMS",
        repeat: Repeat::Many,
        ..arg("streams", ArgKind::Block(&[KEY, arg("id", ArgKind::Bytes)]))
    },
];

pub const ALL: &[(&str, &[ArgSpec])] = &[
    ("PING", &[]),
    ("GET", GET),
    ("HGET", HGET),
    ("SET", SET),
    ("HSET", HSET),
    ("MSET", MSET),
    ("MSETEX", MSETEX),
    ("SCAN", SCAN),
    ("BLMOVE", BLMOVE),
    ("HEXPIRE", HEXPIRE),
    ("SORT", SORT),
    ("SPOP", SPOP),
    ("DEL", DEL),
    ("ZADD", ZADD),
    ("GEOSEARCH", GEOSEARCH),
    ("HELLO", HELLO),
    ("BITFIELD", BITFIELD),
    ("EVAL", EVAL),
    ("XREAD", XREAD),
];
