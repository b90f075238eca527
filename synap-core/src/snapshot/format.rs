//! The numbers and names of the format, as Redis and Valkey have given them out; they never change.

/// Whose version of the format is written. What they differ in is hashes whose fields have deadlines of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// RDB 10, which every Redis and Valkey from 7.0 on reads. It has no word for the deadline of a field: those follow
    /// the hash in an auxiliary field, which we read and others skip.
    #[default]
    Redis72,
    /// RDB 80.
    Valkey9,
    /// RDB 12, of Redis 7.4 and 8.
    Redis8,
}

impl Flavour {
    pub const ALL: [Flavour; 3] = [Flavour::Redis72, Flavour::Valkey9, Flavour::Redis8];

    pub fn version(self) -> u16 {
        match self {
            Flavour::Redis72 => 10,
            Flavour::Valkey9 => VERSION_VALKEY,
            Flavour::Redis8 => VERSION_REDIS_MAX,
        }
    }

    /// What a file begins with.
    pub(super) fn magic(self) -> &'static [u8; MAGIC_BYTES] {
        match self {
            Flavour::Redis72 => b"REDIS0010",
            Flavour::Valkey9 => b"VALKEY080",
            Flavour::Redis8 => b"REDIS0012",
        }
    }
}

pub(super) const MAGIC_BYTES: usize = 9;

/// The newest that we know of Redis; then Valkey goes on with a number of its own.
pub(super) const VERSION_REDIS_MAX: u16 = 12;
pub(super) const VERSION_VALKEY: u16 = 80;

/// Files before this one end without a checksum.
pub(super) const VERSION_CHECKSUM_MIN: u16 = 5;

pub(super) fn is_known_version(version: u16) -> bool {
    matches!(version, 1..=VERSION_REDIS_MAX | VERSION_VALKEY)
}

/// Types of values.
pub(super) mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE_PRE_GA: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
    /// In RDB 80; in RDB 12 the same number is [`HASH_METADATA_PRE_GA`].
    pub const HASH_2: u8 = 22;
    pub const HASH_METADATA_PRE_GA: u8 = 22;
    pub const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    pub const HASH_METADATA: u8 = 24;
    pub const HASH_LISTPACK_EX: u8 = 25;
}

/// What stands where the type of a value could stand.
pub(super) mod opcode {
    /// Of RDB 80; what Redis has there is younger than what we read.
    pub const SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION_2: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQUENCY: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRE_MS: u8 = 252;
    pub const EXPIRE_S: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const END: u8 = 255;
}

/// Instead of the length of a string: what it is encoded as.
pub(super) mod encoding {
    pub const INT_8: u8 = 0xc0;
    pub const INT_16: u8 = 0xc1;
    pub const INT_32: u8 = 0xc2;
    pub const LZF: u8 = 0xc3;
}

/// The first byte of a length that does not fit into 14 bits.
pub(super) const LENGTH_32: u8 = 0x80;
pub(super) const LENGTH_64: u8 = 0x81;

/// What a node of a quicklist holds: one element as it is, or a listpack.
pub(super) const NODE_PLAIN: u64 = 1;
pub(super) const NODE_PACKED: u64 = 2;

/// Redis' latest deadline of a field: 48 bits.
pub(super) const FIELD_DEADLINE_MAX: i64 = (1 << 48) - 1;

/// No deadline, in a hash of Valkey.
pub(super) const NO_DEADLINE: i64 = -1;

/// Our auxiliary fields.
pub(super) const AUX_HISTORY: &[u8] = b"synap-history";
pub(super) const AUX_OFFSET: &[u8] = b"synap-offset";
pub(super) const AUX_DB: &[u8] = b"synap-db";
/// Deadlines of fields of the hash before it.
pub(super) const AUX_DEADLINES: &[u8] = b"synap-field-deadlines";
