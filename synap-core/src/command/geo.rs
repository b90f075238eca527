//! Places: sorted sets whose scores are points on the earth.

use std::fmt::Write;

use super::prelude::*;
use super::zset_range::store;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::types::Elem;
use crate::types::geo::{LATITUDE_MAX, LATITUDE_MIN, LONGITUDE_MAX, LONGITUDE_MIN, Point, Polygon, Shape as Area};
use crate::types::score::{format_double, parse_double};
use crate::types::zset::{Outcome, ScoreBound, ZSet};

const GEO: Group = Group { name: "geo", op: "geo", category: Category::GEO };

pub const COMMANDS: &[Command] = &[
    GEOADD,
    GEOPOS,
    GEODIST,
    GEOHASH,
    GEOSEARCH,
    GEOSEARCHSTORE,
    GEORADIUS,
    GEORADIUS_RO,
    GEORADIUSBYMEMBER,
    GEORADIUSBYMEMBER_RO,
];

// ---- arguments ----

macro_rules! degrees {
    ($($(#[doc = $doc:literal])* $name:ident, $min:expr, $max:expr;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy)]
        pub struct $name(f64);

        impl<'a> Arg<'a> for $name {
            const KIND: ArgKind = ArgKind::Float { min: $min, max: $max, infinite: false };
            fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
                parse_double(parser.word()?).map($name).ok_or(Error::NOT_FLOAT)
            }
        }
    )*};
}

degrees! {
    /// Degrees east. The pair is checked as a whole.
    Longitude, LONGITUDE_MIN, LONGITUDE_MAX;
    /// Degrees north.
    Latitude, LATITUDE_MIN, LATITUDE_MAX;
}

/// A point in degrees.
#[derive(Args, Clone, Copy)]
#[args(check = LonLat::check)]
pub struct LonLat {
    /// Degrees east, -180 to 180.
    longitude: Longitude,
    /// Degrees north, about -85 to 85.
    latitude: Latitude,
}

impl LonLat {
    fn check(&self) -> Result<()> {
        let Point { longitude, latitude } = self.point();
        if self.point().is_valid() {
            return Ok(());
        }
        Err(Error::fmt(format!("invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
    }

    fn point(&self) -> Point {
        Point { longitude: self.longitude.0, latitude: self.latitude.0 }
    }
}

macro_rules! lengths {
    ($($(#[doc = $doc:literal])* $name:ident, $not_a_number:literal, $negative:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy)]
        pub struct $name(f64);

        impl<'a> Arg<'a> for $name {
            const KIND: ArgKind = ArgKind::Float { min: 0.0, max: f64::MAX, infinite: true };
            fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
                match parse_double(parser.word()?) {
                    None => Err(Error::err($not_a_number)),
                    Some(length) if length < 0.0 => Err(Error::err($negative)),
                    Some(length) => Ok($name(length)),
                }
            }
        }
    )*};
}

lengths! {
    /// How far from the center.
    Radius, "need numeric radius", "radius cannot be negative";
    /// From east to west.
    Width, "need numeric width", "height or width cannot be negative";
    /// From north to south.
    Height, "need numeric height", "height or width cannot be negative";
}

#[derive(Args, Clone, Copy)]
enum UnitName {
    /// Metres.
    #[arg(token = "M")]
    M,
    /// Kilometres.
    #[arg(token = "KM")]
    Km,
    /// Feet.
    #[arg(token = "FT")]
    Ft,
    /// Miles.
    #[arg(token = "MI")]
    Mi,
}

/// What lengths are given and told in.
#[derive(Clone, Copy)]
pub struct Unit(UnitName);

impl<'a> Arg<'a> for Unit {
    const KIND: ArgKind = UnitName::KIND;
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        const UNSUPPORTED: Error = Error::err("unsupported unit provided. please use M, KM, FT, MI");
        if parser.remaining() == 0 {
            return Err(Error::SYNTAX);
        }
        UnitName::read(parser, how).map(Unit).map_err(|_| UNSUPPORTED)
    }
}

impl Unit {
    const METRE: Unit = Unit(UnitName::M);

    fn metres(self) -> f64 {
        match self.0 {
            UnitName::M => 1.0,
            UnitName::Km => 1000.0,
            UnitName::Ft => 0.3048,
            UnitName::Mi => 1609.34,
        }
    }
}

/// What is said of a wrong number of corners.
#[derive(Debug)]
pub struct Corners;

impl Sentences for Corners {
    const NOT_INT: Error = Error::err("invalid number of vertices");
    const NOT_POSITIVE: Error = TOO_FEW;
    const MISMATCH: Error = TOO_FEW;
    const IS_LAST: bool = false;
}

const TOO_FEW: Error = Error::err("GEOSEARCH BYPOLYGON must have at least 3 vertices");

/// A corner of a polygon. Its parts have other names than those of a center, which stand beside them.
#[derive(Args, Clone, Copy)]
#[args(check = Corner::check)]
pub struct Corner {
    /// Degrees east, -180 to 180.
    lon: Longitude,
    /// Degrees north, about -85 to 85.
    lat: Latitude,
}

impl Corner {
    fn at(&self) -> LonLat {
        LonLat { longitude: self.lon, latitude: self.lat }
    }

    fn check(&self) -> Result<()> {
        self.at().check()
    }
}

/// How many places to answer.
#[derive(Clone, Copy)]
pub struct PlaceCount(u64);

impl<'a> Arg<'a> for PlaceCount {
    const KIND: ArgKind = ArgKind::Int { min: 1, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let count = crate::types::parse_int(parser.word()?).ok_or(Error::NOT_INT)?;
        let count = u64::try_from(count).ok().filter(|count| *count > 0);
        count.map(PlaceCount).ok_or(Error::err("COUNT must be > 0"))
    }
}

// ---- places ----

#[derive(Args)]
#[args(any_order)]
pub struct GeoAddOptions {
    /// Only adds members.
    #[arg(token = "NX")]
    nx: bool,
    /// Only moves members that are there.
    #[arg(token = "XX")]
    xx: bool,
    /// Counts moved members too.
    #[arg(token = "CH")]
    ch: bool,
}

/// A member and where it is.
#[derive(Args)]
#[args(check = Place::check)]
pub struct Place<'a> {
    /// Degrees east, -180 to 180.
    longitude: Longitude,
    /// Degrees north, about -85 to 85.
    latitude: Latitude,
    /// Name of the place.
    member: Word<'a>,
}

impl Place<'_> {
    fn at(&self) -> LonLat {
        LonLat { longitude: self.longitude, latitude: self.latitude }
    }

    fn check(&self) -> Result<()> {
        self.at().check()
    }
}

#[derive(Args)]
#[args(check = GeoAdd::check)]
pub struct GeoAdd<'a> {
    /// Sorted set to write; created when missing.
    #[arg(access = "RW update")]
    key: Key<'a>,
    options: GeoAddOptions,
    /// Places in order.
    #[arg(uneven = "syntax")]
    places: Many<'a, Place<'a>>,
}

impl GeoAdd<'_> {
    fn check(&self) -> Result<()> {
        if self.options.nx && self.options.xx { Err(Error::SYNTAX) } else { Ok(()) }
    }
}

impl WriteCommand for GeoAdd<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let GeoAddOptions { nx, xx, ch } = self.options;
        if xx && cx.zset(&self.key)?.is_none() {
            reply.int(0);
            return Ok(());
        }
        let mut zset = cx.change::<ZSet>(&self.key, "zadd")?;
        let (mut added, mut moved) = (0, 0);
        for place in self.places.iter() {
            if (nx || xx) && zset.contains(place.member) == nx {
                continue;
            }
            match zset.put(place.member, place.at().point().score()) {
                Outcome::Added => added += 1,
                Outcome::Updated(_) => moved += 1,
                Outcome::Same => {}
            }
        }
        reply.int(if ch { added + moved } else { added });
        Ok(())
    }
}

pub const GEOADD: Command = Command {
    name: "GEOADD",
    op: "geo.add",
    since: "3.2.0",
    summary: "Adds places to a sorted set, or moves them.",
    complexity: "O(log N) for each place, N in the sorted set",
    returns: Shape::int("added", "Places that were not there before; with CH also those that were moved."),
    flags: Flags::DENYOOM.and(Flags::IDEMPOTENT),
    ..GEO.write::<GeoAdd>()
};

/// Some members.
#[derive(Args)]
pub struct Places<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// Names of places.
    members: Option<Many<'a, Word<'a>>>,
}

impl Places<'_> {
    /// Writes something for each member that is there, and nulls for others.
    fn write_each(
        &self,
        cx: &ReadCx<'_>,
        reply: &mut dyn Reply,
        write: impl Fn(&mut dyn Reply, Option<Point>),
    ) -> Result<()> {
        let zset = cx.zset(&self.key)?;
        reply.array(self.members.as_ref().map_or(0, Many::len));
        for member in self.members.iter().flat_map(|many| many.iter()) {
            write(reply, zset.and_then(|zset| place_of(zset, member)));
        }
        Ok(())
    }
}

fn place_of(zset: &ZSet, member: &[u8]) -> Option<Point> {
    zset.score(member).map(Point::of_score)
}

#[derive(Args)]
pub struct GeoPos<'a>(Places<'a>);

impl ReadCommand for GeoPos<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.write_each(cx, reply, |reply, point| match point {
            Some(point) => write_point(point, reply),
            None => reply.null_array(),
        })
    }
}

fn write_point(point: Point, reply: &mut dyn Reply) {
    reply.array(2);
    write_degrees(point.longitude, reply);
    write_degrees(point.latitude, reply);
}

/// RESP2 clients compare the text: it has 17 digits behind the dot, without zeros at its end.
fn write_degrees(degrees: f64, reply: &mut dyn Reply) {
    if reply.resp3() {
        return reply.double(degrees);
    }
    let text = format!("{degrees:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    reply.text(if text == "-0" { "0" } else { text });
}

const DEGREES: [Shape; 2] = [Shape::double("", ""), Shape::text("", "")];
const POINT: Shape =
    Shape::tuple("", "", &[Shape::one_of("longitude", "", &DEGREES), Shape::one_of("latitude", "", &DEGREES)]);

pub const GEOPOS: Command = Command {
    name: "GEOPOS",
    op: "geo.pos",
    since: "3.2.0",
    summary: "Returns where members are.",
    complexity: "O(N) for N members",
    returns: Shape::array(
        "places",
        "For each member its place; null when there is no such member.",
        &Shape::optional(&POINT),
    ),
    ..GEO.read::<GeoPos>()
};

#[derive(Args)]
pub struct GeoHash<'a>(Places<'a>);

impl ReadCommand for GeoHash<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.write_each(cx, reply, |reply, point| match point {
            Some(point) => reply.bulk(&point.geohash()),
            None => reply.null(),
        })
    }
}

pub const GEOHASH: Command = Command {
    name: "GEOHASH",
    op: "geo.hash",
    since: "3.2.0",
    summary: "Returns the standard geohashes of members.",
    complexity: "O(N) for N members",
    returns: Shape::array(
        "hashes",
        "For each member its geohash of eleven letters; null when there is no such member.",
        &Shape::optional(&Shape::text("", "")),
    ),
    ..GEO.read::<GeoHash>()
};

#[derive(Args)]
pub struct GeoDist<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// From this place.
    member1: Word<'a>,
    /// To this place.
    member2: Word<'a>,
    /// Metres when left out.
    unit: Option<Unit>,
}

impl ReadCommand for GeoDist<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let zset = cx.zset(&self.key)?;
        let place = |member| zset.and_then(|zset| place_of(zset, member));
        match (place(self.member1), place(self.member2)) {
            (Some(from), Some(to)) => {
                write_length(from.distance(to) / self.unit.unwrap_or(Unit::METRE).metres(), reply);
            }
            _ => reply.null(),
        }
        Ok(())
    }
}

/// Four digits behind the dot: tenths of millimetres, or of metres in kilometres.
fn write_length(length: f64, reply: &mut dyn Reply) {
    let scaled = (length * 10_000.0).round_ties_even() as i64;
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write!(text, "{}.{:04}", scaled / 10_000, scaled % 10_000);
    reply.text(&text);
}

pub const GEODIST: Command = Command {
    name: "GEODIST",
    op: "geo.dist",
    since: "3.2.0",
    summary: "Returns how far two members are from each other.",
    returns: Shape::optional(&Shape::text(
        "distance",
        "With four digits behind the dot; null when a member is missing.",
    )),
    ..GEO.read::<GeoDist>()
};

// ---- searching ----

/// A place that was found.
struct Found<'z> {
    member: Elem<'z>,
    score: f64,
    point: Point,
    /// In metres, from the center.
    distance: f64,
}

/// Which way.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The nearest first.
    #[arg(token = "ASC")]
    Asc,
    /// The farthest first.
    #[arg(token = "DESC")]
    Desc,
}

/// How much to answer, and in which order.
struct Choice {
    count: Option<u64>,
    any: bool,
    order: Option<Order>,
}

impl Choice {
    fn new(count: Option<PlaceCount>, any: bool, order: Option<Order>) -> Choice {
        Choice { count: count.map(|PlaceCount(count)| count), any, order }
    }

    fn check(&self) -> Result<()> {
        let lacks_count = self.any && self.count.is_none();
        if lacks_count { Err(Error::err("the ANY argument requires COUNT argument")) } else { Ok(()) }
    }

    /// The places inside `area`.
    fn search<'z>(&self, zset: &'z ZSet, area: &Area) -> Vec<Found<'z>> {
        let count = self.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let enough = if self.any { count } else { usize::MAX };
        let inside = |(member, score): (Elem<'z>, f64)| {
            let point = Point::of_score(score);
            area.distance_inside(point).map(|distance| Found { member, score, point, distance })
        };
        let ranks = |scores: std::ops::Range<f64>| {
            zset.score_ranks(ScoreBound::Incl(scores.start), ScoreBound::Excl(scores.end))
        };
        let members = area.score_ranges().flat_map(|scores| zset.range(ranks(scores)));
        let mut found: Vec<Found<'z>> = members.filter_map(inside).take(enough).collect();
        // So many means the nearest ones, unless any will do.
        let order = self.order.or((self.count.is_some() && !self.any).then_some(Order::Asc));
        match order {
            Some(Order::Asc) => found.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
            Some(Order::Desc) => found.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
            None => {}
        }
        found.truncate(count);
        found
    }
}

/// What to answer beside a name.
#[derive(Clone, Copy)]
struct With {
    coord: bool,
    dist: bool,
    hash: bool,
}

impl With {
    fn is_nothing(self) -> bool {
        !(self.coord || self.dist || self.hash)
    }

    fn write(self, found: &[Found<'_>], unit: Unit, reply: &mut dyn Reply) {
        let mut digits = itoa::Buffer::new();
        reply.array(found.len());
        for place in found {
            if !self.is_nothing() {
                reply.array(1 + usize::from(self.coord) + usize::from(self.dist) + usize::from(self.hash));
            }
            reply.bulk(place.member.bytes(&mut digits));
            if self.dist {
                write_length(place.distance / unit.metres(), reply);
            }
            if self.hash {
                reply.int(place.score as i64);
            }
            if self.coord {
                write_point(place.point, reply);
            }
        }
    }
}

const FOUND: Shape = Shape::one_of(
    "places",
    "Members; with options arrays of member, distance, score, and longitude and latitude, as far as asked for.",
    &[Shape::array("", "", &Shape::BYTES), Shape::array("", "", &Shape::array("", "", &Shape::any("", "")))],
);

/// Stores places with their scores, or their distances, and answers how many. Logged as what they are: on another machine
/// a sine may end in another bit.
fn store_found(
    cx: &mut WriteCx<'_>,
    key: &Key<'_>,
    found: Vec<(Vec<u8>, f64)>,
    event: &'static str,
    reply: &mut dyn Reply,
) {
    let mut zset = ZSet::new();
    found.iter().for_each(|(member, score)| {
        zset.insert(member, *score, cx.limits());
    });
    store(cx, key, zset, event, reply);
    cx.log_instead(&[b"DEL", key.bytes]);
    if !found.is_empty() {
        let scores: Vec<_> = found.iter().map(|(_, score)| format_double(*score)).collect();
        let mut words: Vec<&[u8]> = vec![b"ZADD", key.bytes];
        for ((member, _), score) in found.iter().zip(&scores) {
            words.extend([score.as_bytes(), member]);
        }
        cx.log_instead(&words);
    }
}

/// What a search is, once its center is known.
struct Search {
    choice: Choice,
    unit: Unit,
}

impl Search {
    /// Searches and answers.
    fn answer(
        &self,
        cx: &ReadCx<'_>,
        key: &Key<'_>,
        area: Option<&Area>,
        with: With,
        reply: &mut dyn Reply,
    ) -> Result<()> {
        match (cx.zset(key)?, area) {
            (Some(zset), Some(area)) => with.write(&self.choice.search(zset, area), self.unit, reply),
            _ => reply.array(0),
        }
        Ok(())
    }

    /// Searches and stores.
    fn store(
        &self,
        cx: &mut WriteCx<'_>,
        (source, target): (&Key<'_>, &Key<'_>),
        area: Option<&Area>,
        distances: bool,
        event: &'static str,
        reply: &mut dyn Reply,
    ) -> Result<()> {
        let found = match (cx.zset(source)?, area) {
            (Some(zset), Some(area)) => self.choice.search(zset, area),
            _ => Vec::new(),
        };
        let score = |place: &Found<'_>| if distances { place.distance / self.unit.metres() } else { place.score };
        let found = found.iter().map(|place| (place.member.to_vec(), score(place))).collect();
        store_found(cx, target, found, event, reply);
        Ok(())
    }
}

/// The center of a search.
#[derive(Args, Clone, Copy)]
pub enum Origin<'a> {
    /// A member of the sorted set.
    #[arg(token = "FROMMEMBER")]
    Frommember(Word<'a>),
    /// A point.
    #[arg(token = "FROMLONLAT")]
    Fromlonlat(LonLat),
}

/// Where `from` is; `None` without a sorted set.
fn center(cx: &ReadCx<'_>, key: &Key<'_>, from: Origin<'_>) -> Result<Option<Point>> {
    let zset = cx.zset(key)?;
    match (from, zset) {
        (Origin::Fromlonlat(at), _) => Ok(Some(at.point())),
        (Origin::Frommember(_), None) => Ok(None),
        (Origin::Frommember(member), Some(zset)) => {
            place_of(zset, member).map(Some).ok_or(Error::err("could not decode requested zset member"))
        }
    }
}

/// A circle.
#[derive(Args, Clone, Copy)]
pub struct ByRadius {
    /// How far from the center.
    radius: Radius,
    /// What it is given in, and distances too.
    unit: Unit,
}

/// A box.
#[derive(Args, Clone, Copy)]
pub struct ByBox {
    /// From east to west.
    width: Width,
    /// From north to south.
    height: Height,
    /// What they are given in, and distances too.
    unit: Unit,
}

/// What is searched.
#[derive(Args)]
pub enum By<'a> {
    /// A circle around the center.
    #[arg(token = "BYRADIUS")]
    Byradius(ByRadius),
    /// A box around the center, its sides along meridians and parallels.
    #[arg(token = "BYBOX")]
    Bybox(ByBox),
    /// A polygon, given by its corners. It has a center of its own; distances are in metres.
    #[arg(token = "BYPOLYGON")]
    Bypolygon(Counted<'a, Corner, Corners>),
}

impl By<'_> {
    fn unit(&self) -> Unit {
        match self {
            By::Byradius(ByRadius { unit, .. }) | By::Bybox(ByBox { unit, .. }) => *unit,
            By::Bypolygon(_) => Unit::METRE,
        }
    }
}

/// The area that a search is about; `None` when its center is unknown for want of a sorted set.
fn area(cx: &ReadCx<'_>, key: &Key<'_>, from: Option<Origin<'_>>, by: &By<'_>) -> Result<Option<Area>> {
    let center = from.map_or(Ok(None), |from| center(cx, key, from))?;
    Ok(match (by, center) {
        (By::Bypolygon(corners), _) => {
            Some(Area::Polygon(Polygon::new(corners.0.iter().map(|corner| corner.at().point()).collect())))
        }
        (By::Byradius(ByRadius { radius, unit }), Some(center)) => {
            Some(Area::Circle { center, radius: radius.0 * unit.metres() })
        }
        (By::Bybox(ByBox { width, height, unit }), Some(center)) => {
            Some(Area::Box { center, width: width.0 * unit.metres(), height: height.0 * unit.metres() })
        }
        (_, None) => None,
    })
}

/// Refuses what GEOSEARCH and its like cannot do without, or with both.
fn check_search(from: Option<&Origin<'_>>, by: Option<&By<'_>>, choice: &Choice, name: &str) -> Result<()> {
    match by {
        Some(By::Bypolygon(corners)) if from.is_some() || corners.0.len() < 3 => {
            return Err(if from.is_some() { Error::SYNTAX } else { TOO_FEW });
        }
        Some(By::Bypolygon(_)) => {}
        _ if from.is_none() => {
            return Err(Error::fmt(format!("exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}")));
        }
        Some(_) => {}
        None => {
            // The sentence of before there were polygons, which clients know.
            return Err(Error::fmt(format!("exactly one of BYRADIUS and BYBOX can be specified for {name}")));
        }
    }
    choice.check()
}

#[derive(Args)]
#[args(any_order)]
pub struct GeoSearchOptions<'a> {
    from: Option<Origin<'a>>,
    by: Option<By<'a>>,
    #[arg(again = "replaces")]
    order: Option<Order>,
    /// So many at most: the nearest.
    #[arg(token = "COUNT")]
    count: Option<PlaceCount>,
    /// Any so many that are inside, not the nearest.
    #[arg(token = "ANY")]
    any: bool,
    /// Answers longitude and latitude too.
    #[arg(token = "WITHCOORD")]
    withcoord: bool,
    /// Answers the distance from the center too.
    #[arg(token = "WITHDIST")]
    withdist: bool,
    /// Answers the score too.
    #[arg(token = "WITHHASH")]
    withhash: bool,
}

#[derive(Args)]
#[args(check = GeoSearch::check)]
pub struct GeoSearch<'a> {
    /// Sorted set to search.
    key: Key<'a>,
    options: GeoSearchOptions<'a>,
}

impl GeoSearch<'_> {
    fn choice(&self) -> Choice {
        Choice::new(self.options.count, self.options.any, self.options.order)
    }

    fn check(&self) -> Result<()> {
        check_search(self.options.from.as_ref(), self.options.by.as_ref(), &self.choice(), "GEOSEARCH")
    }
}

impl ReadCommand for GeoSearch<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let choice = self.choice();
        let GeoSearchOptions { from, by, withcoord, withdist, withhash, .. } = self.options;
        let by = by.ok_or(Error::SYNTAX)?;
        let area = area(cx, &self.key, from, &by)?;
        let with = With { coord: withcoord, dist: withdist, hash: withhash };
        Search { choice, unit: by.unit() }.answer(cx, &self.key, area.as_ref(), with, reply)
    }
}

pub const GEOSEARCH: Command = Command {
    name: "GEOSEARCH",
    op: "geo.search",
    since: "6.2.0",
    summary: "Returns the places inside a circle, a box or a polygon.",
    complexity: "O(N + M*log M) for N places around and M inside",
    returns: FOUND,
    min_words: 6,
    ..GEO.read::<GeoSearch>()
};

#[derive(Args)]
#[args(any_order)]
pub struct GeoSearchStoreOptions<'a> {
    from: Option<Origin<'a>>,
    by: Option<By<'a>>,
    #[arg(again = "replaces")]
    order: Option<Order>,
    /// So many at most: the nearest.
    #[arg(token = "COUNT")]
    count: Option<PlaceCount>,
    /// Any so many that are inside, not the nearest.
    #[arg(token = "ANY")]
    any: bool,
    /// Stores distances from the center as scores, instead of places.
    #[arg(token = "STOREDIST")]
    storedist: bool,
}

#[derive(Args)]
#[args(excess = GeoSearchStore::surplus, check = GeoSearchStore::check)]
pub struct GeoSearchStore<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    destination: Key<'a>,
    /// Sorted set to search.
    #[arg(access = "RO access")]
    source: Key<'a>,
    options: GeoSearchStoreOptions<'a>,
}

impl GeoSearchStore<'_> {
    fn surplus(&self, rest: Words<'_>) -> Error {
        if is_with(rest[0]) {
            Error::err("GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
        } else {
            Error::SYNTAX
        }
    }

    fn choice(&self) -> Choice {
        Choice::new(self.options.count, self.options.any, self.options.order)
    }

    fn check(&self) -> Result<()> {
        check_search(self.options.from.as_ref(), self.options.by.as_ref(), &self.choice(), "GEOSEARCHSTORE")
    }
}

fn is_with(word: &[u8]) -> bool {
    [&b"WITHDIST"[..], b"WITHHASH", b"WITHCOORD"].iter().any(|token| word.eq_ignore_ascii_case(token))
}

impl WriteCommand for GeoSearchStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let choice = self.choice();
        let GeoSearchStoreOptions { from, by, storedist, .. } = self.options;
        let by = by.ok_or(Error::SYNTAX)?;
        let area = area(cx, &self.source, from, &by)?;
        let search = Search { choice, unit: by.unit() };
        search.store(cx, (&self.source, &self.destination), area.as_ref(), storedist, "geosearchstore", reply)
    }
}

const STORED: Shape = Shape::int("count", "Places that were stored.");

pub const GEOSEARCHSTORE: Command = Command {
    name: "GEOSEARCHSTORE",
    op: "geo.searchstore",
    since: "6.2.0",
    summary: "Stores the places inside a circle, a box or a polygon at another key.",
    complexity: "O(N + M*log M) for N places around and M inside",
    returns: STORED,
    flags: Flags::DENYOOM,
    min_words: 7,
    ..GEO.write::<GeoSearchStore>()
};

/// Where to put what was found.
#[derive(Args, Clone, Copy)]
pub enum Store<'a> {
    /// Stores the places at this key instead of answering them; a value of any type is replaced.
    #[arg(token = "STORE", access = "OW update")]
    Store(Key<'a>),
    /// Stores distances from the center as scores at this key; a value of any type is replaced.
    #[arg(token = "STOREDIST", access = "OW update")]
    Storedist(Key<'a>),
}

#[derive(Args)]
#[args(any_order, check = RadiusOptions::check)]
pub struct RadiusOptions<'a> {
    /// Answers longitude and latitude too.
    #[arg(token = "WITHCOORD")]
    withcoord: bool,
    /// Answers the distance from the center too.
    #[arg(token = "WITHDIST")]
    withdist: bool,
    /// Answers the score too.
    #[arg(token = "WITHHASH")]
    withhash: bool,
    /// So many at most: the nearest.
    #[arg(token = "COUNT")]
    count: Option<PlaceCount>,
    /// Any so many that are inside, not the nearest.
    #[arg(token = "ANY")]
    any: bool,
    #[arg(again = "replaces")]
    order: Option<Order>,
    #[arg(again = "replaces")]
    store: Option<Store<'a>>,
}

impl RadiusOptions<'_> {
    fn with(&self) -> With {
        With { coord: self.withcoord, dist: self.withdist, hash: self.withhash }
    }

    fn choice(&self) -> Choice {
        Choice::new(self.count, self.any, self.order)
    }

    fn check(&self) -> Result<()> {
        if self.store.is_some() && !self.with().is_nothing() {
            return Err(Error::err(
                "STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ));
        }
        self.choice().check()
    }

    fn run(
        &self,
        cx: &mut WriteCx<'_>,
        key: &Key<'_>,
        from: Origin<'_>,
        by: ByRadius,
        reply: &mut dyn Reply,
    ) -> Result<()> {
        let search = Search { choice: self.choice(), unit: by.unit };
        let area = area(cx, key, Some(from), &By::Byradius(by))?;
        match &self.store {
            None => search.answer(cx, key, area.as_ref(), self.with(), reply),
            Some(Store::Store(target)) => {
                search.store(cx, (key, target), area.as_ref(), false, "georadiusstore", reply)
            }
            Some(Store::Storedist(target)) => {
                search.store(cx, (key, target), area.as_ref(), true, "georadiusstore", reply)
            }
        }
    }
}

#[derive(Args)]
#[args(any_order, check = RadiusRoOptions::check)]
pub struct RadiusRoOptions {
    /// Answers longitude and latitude too.
    #[arg(token = "WITHCOORD")]
    withcoord: bool,
    /// Answers the distance from the center too.
    #[arg(token = "WITHDIST")]
    withdist: bool,
    /// Answers the score too.
    #[arg(token = "WITHHASH")]
    withhash: bool,
    /// So many at most: the nearest.
    #[arg(token = "COUNT")]
    count: Option<PlaceCount>,
    /// Any so many that are inside, not the nearest.
    #[arg(token = "ANY")]
    any: bool,
    #[arg(again = "replaces")]
    order: Option<Order>,
}

impl RadiusRoOptions {
    fn choice(&self) -> Choice {
        Choice::new(self.count, self.any, self.order)
    }

    fn check(&self) -> Result<()> {
        self.choice().check()
    }

    fn run(&self, cx: &ReadCx<'_>, key: &Key<'_>, from: Origin<'_>, by: ByRadius, reply: &mut dyn Reply) -> Result<()> {
        let search = Search { choice: self.choice(), unit: by.unit };
        let with = With { coord: self.withcoord, dist: self.withdist, hash: self.withhash };
        search.answer(cx, key, area(cx, key, Some(from), &By::Byradius(by))?.as_ref(), with, reply)
    }
}

#[derive(Args)]
pub struct GeoRadius<'a> {
    /// Sorted set to search.
    #[arg(access = "RO access")]
    key: Key<'a>,
    /// The center.
    center: LonLat,
    /// The circle.
    circle: ByRadius,
    options: RadiusOptions<'a>,
}

impl WriteCommand for GeoRadius<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.options.run(cx, &self.key, Origin::Fromlonlat(self.center), self.circle, reply)
    }
}

const FOUND_OR_STORED: Shape = Shape::one_of(
    "places",
    "Members; with options arrays of member, distance, score, and longitude and latitude, as far as asked for; with \
     STORE how many were stored.",
    &[
        Shape::array("", "", &Shape::BYTES),
        Shape::array("", "", &Shape::array("", "", &Shape::any("", ""))),
        Shape::INT,
    ],
);

pub const GEORADIUS: Command = Command {
    name: "GEORADIUS",
    op: "geo.radius",
    since: "3.2.0",
    summary: "Returns the places within a distance of a point, or stores them. GEOSEARCH can do more.",
    complexity: "O(N + M*log M) for N places around and M inside",
    returns: FOUND_OR_STORED,
    flags: Flags::DENYOOM.and(Flags::MOVABLE_KEYS),
    ..GEO.write::<GeoRadius>()
};

#[derive(Args)]
pub struct GeoRadiusRo<'a> {
    /// Sorted set to search.
    key: Key<'a>,
    /// The center.
    center: LonLat,
    /// The circle.
    circle: ByRadius,
    options: RadiusRoOptions,
}

impl ReadCommand for GeoRadiusRo<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.options.run(cx, &self.key, Origin::Fromlonlat(self.center), self.circle, reply)
    }
}

pub const GEORADIUS_RO: Command = Command {
    name: "GEORADIUS_RO",
    op: "geo.radius_ro",
    since: "3.2.10",
    summary: "Returns the places within a distance of a point. GEOSEARCH can do more.",
    complexity: "O(N + M*log M) for N places around and M inside",
    returns: FOUND,
    ..GEO.read::<GeoRadiusRo>()
};

#[derive(Args)]
pub struct GeoRadiusByMember<'a> {
    /// Sorted set to search.
    #[arg(access = "RO access")]
    key: Key<'a>,
    /// The place that is the center.
    member: Word<'a>,
    /// The circle.
    circle: ByRadius,
    options: RadiusOptions<'a>,
}

impl WriteCommand for GeoRadiusByMember<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.options.run(cx, &self.key, Origin::Frommember(self.member), self.circle, reply)
    }
}

pub const GEORADIUSBYMEMBER: Command = Command {
    name: "GEORADIUSBYMEMBER",
    op: "geo.radiusbymember",
    since: "3.2.0",
    summary: "Returns the places within a distance of a member, or stores them. GEOSEARCH can do more.",
    complexity: "O(N + M*log M) for N places around and M inside",
    returns: FOUND_OR_STORED,
    flags: Flags::DENYOOM.and(Flags::MOVABLE_KEYS),
    ..GEO.write::<GeoRadiusByMember>()
};

#[derive(Args)]
pub struct GeoRadiusByMemberRo<'a> {
    /// Sorted set to search.
    key: Key<'a>,
    /// The place that is the center.
    member: Word<'a>,
    /// The circle.
    circle: ByRadius,
    options: RadiusRoOptions,
}

impl ReadCommand for GeoRadiusByMemberRo<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.options.run(cx, &self.key, Origin::Frommember(self.member), self.circle, reply)
    }
}

pub const GEORADIUSBYMEMBER_RO: Command = Command {
    name: "GEORADIUSBYMEMBER_RO",
    op: "geo.radiusbymember_ro",
    since: "3.2.10",
    summary: "Returns the places within a distance of a member. GEOSEARCH can do more.",
    complexity: "O(N + M*log M) for N places around and M inside",
    returns: FOUND,
    ..GEO.read::<GeoRadiusByMemberRo>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    const SICILY: &str = r#"GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => 2"#;

    #[test]
    fn places_are_kept_as_scores() {
        let mut test = TestEngine::default();
        test.check(SICILY);
        test.check(
            r#"
            ZSCORE s Palermo => 3479099956230698
            GEOADD s CH 13.361389 38.115556 Palermo 15 37 Catania => 1
            GEOADD s NX 1 1 Palermo 15.087269 37.502669 Catania => 0
            GEOADD s XX 15.087269 37.502669 Catania 1 1 new => 0
            GEOADD s NX XX 1 1 a => -ERR syntax error
            GEOADD s 1 2 a 3 => -ERR syntax error
            GEOADD s CH XX foo 1 2 a => -ERR syntax error
            GEOADD s 200 100 a => -ERR invalid longitude,latitude pair 200.000000,100.000000
            GEOADD s x 1 a => -ERR value is not a valid float
            GEODIST s Palermo Catania => "166274.1516"
            GEODIST s Palermo Catania km => "166.2742"
            GEODIST s Palermo none => nil
            GEODIST s Palermo Catania x => -ERR unsupported unit provided. please use M, KM, FT, MI
            GEOHASH s Palermo none => ["sqc8b49rny0", nil]
            GEOPOS s Palermo none => [[13.361389338970184, 38.1155563954963], nil]
            GEOPOS none x => [nil]
            "#,
        );
        test.session.resp3 = false;
        test.check(r#"GEOPOS s Palermo => [["13.36138933897018433", "38.11555639549629859"]]"#);
    }

    #[test]
    fn places_are_found() {
        let mut test = TestEngine::default();
        test.check(SICILY);
        test.check(
            r#"
            GEORADIUS s 15 37 200 km WITHDIST => [["Palermo", "190.4424"], ["Catania", "56.4413"]]
            GEORADIUS s 15 37 200 km WITHHASH DESC ASC COUNT 1 => [["Catania", 3479447370796909]]
            GEORADIUS_RO s 15 37 100 km => ["Catania"]
            GEORADIUS_RO s 15 37 100 km STORE x => -ERR syntax error
            GEORADIUSBYMEMBER s Palermo 100 km => ["Palermo"]
            GEORADIUSBYMEMBER_RO s Palermo 170 km DESC => ["Catania", "Palermo"]
            GEORADIUSBYMEMBER s none 1 km => -ERR could not decode requested zset member
            GEORADIUSBYMEMBER none x 1 km => []
            GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC => ["Catania", "Palermo"]
            GEOSEARCH s FROMMEMBER Palermo BYRADIUS 0 m WITHDIST => [["Palermo", "0.0000"]]
            GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 ANY => ["Palermo"]
            GEOSEARCH s BYPOLYGON 4 13 38 14 38 14 39 13 39 => ["Palermo"]
            GEORADIUS s 15 37 -1 km => -ERR radius cannot be negative
            GEORADIUS s 15 37 x km => -ERR need numeric radius
            GEORADIUS s 15 37 1 km COUNT 0 => -ERR COUNT must be > 0
            GEORADIUS s 15 37 1 km ANY => -ERR the ANY argument requires COUNT argument
            GEORADIUS s 15 37 1 km STORE x WITHDIST => -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
            GEOSEARCH s FROMLONLAT 15 37 BYBOX -1 1 km => -ERR height or width cannot be negative
            GEOSEARCH s FROMLONLAT 15 37 ASC COUNT 1 => -ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH
            GEOSEARCH s BYRADIUS 1 km ASC COUNT 1 => -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
            GEOSEARCH s FROMMEMBER a FROMLONLAT 1 1 BYRADIUS 1 km => -ERR syntax error
            GEOSEARCH s BYPOLYGON 2 1 1 2 2 => -ERR GEOSEARCH BYPOLYGON must have at least 3 vertices
            GEOSEARCH s BYPOLYGON 3 1 1 2 2 => -ERR GEOSEARCH BYPOLYGON must have at least 3 vertices
            GEOSEARCH s BYPOLYGON 3 1 1 2 2 3 3 FROMMEMBER a => -ERR syntax error
            "#,
        );
    }

    #[test]
    fn places_are_stored() {
        let mut test = TestEngine::default();
        test.check(SICILY);
        test.check(
            r#"
            GEOSEARCHSTORE near s FROMLONLAT 15 37 BYBOX 400 400 km => 2
            ZRANGE near 0 -1 WITHSCORES => [["Palermo", 3479099956230698], ["Catania", 3479447370796909]]
            GEOSEARCHSTORE near s FROMLONLAT 15 37 BYRADIUS 100 km STOREDIST => 1
            ZRANGE near 0 -1 => ["Catania"]
            COMMAND GETKEYS GEORADIUS s 15 37 200 km STORE a STOREDIST b STORE c => ["s", "c"]
            COMMAND GETKEYS SORT s STORE s STORE b STORE s => ["s", "s"]
            GEORADIUS s 15 37 200 km STORE other STOREDIST near => 2
            EXISTS other => 0
            ZRANGE near 0 -1 => ["Catania", "Palermo"]
            GEOSEARCHSTORE near s FROMLONLAT 15 37 BYRADIUS 1 km WITHDIST => -ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
            GEOSEARCHSTORE near none FROMMEMBER x BYRADIUS 1 km => 0
            EXISTS near => 0
            "#,
        );
    }

    /// Valkey's own example: corners that turn back on themselves.
    #[test]
    fn a_polygon_may_cross_itself() {
        let mut test = TestEngine::default();
        let places = [
            (151.20932132005692, -33.877723137822436, "Elizabeth"),
            (151.2119820713997, -33.87697539508043, "Connaught"),
            (151.2119820713997, -33.87156123068408, "StJames"),
            (151.2229523062706, -33.883973760201364, "Oxford"),
            (151.22852593660355, -33.88116782387797, "Goodhope"),
            (151.2224105000496, -33.87544442350019, "KingsCross"),
            (151.22953444719315, -33.874838625143106, "Bartley"),
        ];
        for (longitude, latitude, name) in places {
            test.call(&format!("GEOADD p {longitude} {latitude} {name}"));
        }
        let corners = "11 151.21619137411474 -33.869643764947696 151.20408853981647 -33.87845382042545 \
             151.2123775086366 -33.87864711938855 151.21046943124387 -33.87588862400425 151.21701035939626 \
             -33.874286511854834 151.2239557405701 -33.8735722632175 151.22495056246407 -33.87893571656996 \
             151.2274447496748 -33.882307713036354 151.23212935868654 -33.88136096120022 151.23097291274465 \
             -33.87456240592362 151.22475424781445 -33.87099633192101";
        assert_eq!(
            test.call(&format!("GEOSEARCH p BYPOLYGON {corners} WITHDIST ASC")),
            r#"[["Bartley", "858.3013"], ["Goodhope", "929.4979"], ["Elizabeth", "1035.7735"]]"#
        );
        assert_eq!(test.call(&format!("GEOSEARCH p BYPOLYGON {corners}")), r#"["Goodhope", "Bartley", "Elizabeth"]"#);
    }
}
