//! Points on the earth as scores: 52 bits of geohash, which a double holds exactly.
//!
//! ```text
//! score   y25 x25 y24 x24 … y0 x0      odd bits: longitude, even bits: latitude, 26 of each
//! ```
//!
//! A prefix of the bits is a cell of a grid, and a range of scores. A search looks at the cell of its center and the eight
//! around it, at the finest grid on which those nine cover the shape, and measures every point that it finds there. All
//! arithmetic is Redis', step by step, so that the same points are found and the same distances told.

use std::ops::Range;

/// Bits of each coordinate in a score.
const STEP_MAX: u32 = 26;

pub const LONGITUDE_MIN: f64 = -180.0;
pub const LONGITUDE_MAX: f64 = 180.0;
/// The square web mercator map ends here; poles have no score.
pub const LATITUDE_MIN: f64 = -85.05112878;
pub const LATITUDE_MAX: f64 = 85.05112878;

/// Metres; the quadratic mean of WGS-84.
const EARTH_RADIUS: f64 = 6372797.560856;
/// Metres from the middle of the web mercator map to its edge.
const MERCATOR_MAX: f64 = 20037726.37;

/// Degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

impl Point {
    /// True when it has a score.
    pub fn is_valid(self) -> bool {
        (LONGITUDE_MIN..=LONGITUDE_MAX).contains(&self.longitude)
            && (LATITUDE_MIN..=LATITUDE_MAX).contains(&self.latitude)
    }

    /// The score of a valid point.
    pub fn score(self) -> f64 {
        Cell::of(self, STEP_MAX, LATITUDE_MIN..LATITUDE_MAX).bits as f64
    }

    /// The middle of a score's cell. A score that no point has gives some point.
    pub fn of_score(score: f64) -> Point {
        let (longitude, latitude) = Cell { bits: score as u64, step: STEP_MAX }.area();
        let middle = |range: Range<f64>| (range.start + range.end) / 2.0;
        Point {
            longitude: middle(longitude).clamp(LONGITUDE_MIN, LONGITUDE_MAX),
            latitude: middle(latitude).clamp(LATITUDE_MIN, LATITUDE_MAX),
        }
    }

    /// Metres along the great circle (haversine).
    pub fn distance(self, other: Point) -> f64 {
        let half_longitude = ((other.longitude.to_radians() - self.longitude.to_radians()) / 2.0).sin();
        if half_longitude == 0.0 {
            return latitude_distance(self.latitude, other.latitude);
        }
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_latitude = ((to - from) / 2.0).sin();
        let a = half_latitude * half_latitude + from.cos() * to.cos() * half_longitude * half_longitude;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }

    /// The standard geohash of eleven letters. Its latitudes reach to the poles, so the point is hashed anew. 52 bits fill ten
    /// letters; the last is always `0`.
    pub fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, STEP_MAX, -90.0..90.0).bits;
        std::array::from_fn(|at| match at {
            10 => b'0',
            _ => LETTERS[(bits >> (52 - (at + 1) * 5)) as usize & 31],
        })
    }
}

/// As in C, where the standard library's function would round otherwise.
fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

fn latitude_distance(from: f64, to: f64) -> f64 {
    EARTH_RADIUS * (to.to_radians() - from.to_radians()).abs()
}

/// What is searched.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Metres.
    Circle {
        center: Point,
        radius: f64,
    },
    /// Metres; the sides run along the meridians and parallels.
    Box {
        center: Point,
        width: f64,
        height: f64,
    },
    Polygon(Polygon),
}

/// At least three corners, the last joined to the first. Inside is by the even-odd rule, in degrees.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    corners: Vec<Point>,
    /// Of the corners in space, brought back to the ground.
    centroid: Point,
}

impl Polygon {
    pub fn new(corners: Vec<Point>) -> Polygon {
        let mut sum = [0.0; 3];
        for corner in &corners {
            let (longitude, latitude) = (corner.longitude.to_radians(), corner.latitude.to_radians());
            sum[0] += EARTH_RADIUS * latitude.cos() * longitude.cos();
            sum[1] += EARTH_RADIUS * latitude.cos() * longitude.sin();
            sum[2] += EARTH_RADIUS * latitude.sin();
        }
        let [x, y, z] = sum.map(|sum| sum / corners.len() as f64);
        let centroid = Point { longitude: degrees(y.atan2(x)), latitude: degrees(z.atan2((x * x + y * y).sqrt())) };
        Polygon { corners, centroid }
    }

    /// Counts the sides that a ray from the point crosses.
    fn contains(&self, point: Point) -> bool {
        let mut inside = false;
        let mut before = self.corners[self.corners.len() - 1];
        for &corner in &self.corners {
            let spans = (corner.latitude > point.latitude) != (before.latitude > point.latitude);
            if spans {
                let slope = (before.longitude - corner.longitude) * (point.latitude - corner.latitude)
                    / (before.latitude - corner.latitude);
                inside ^= point.longitude < slope + corner.longitude;
            }
            before = corner;
        }
        inside
    }

    fn bounds(&self) -> Bounds {
        let fold = |of: fn(&Point) -> f64| {
            let range = f64::INFINITY..f64::NEG_INFINITY;
            self.corners.iter().map(of).fold(range, |range, at| range.start.min(at)..range.end.max(at))
        };
        Bounds { longitude: fold(|corner| corner.longitude), latitude: fold(|corner| corner.latitude) }
    }
}

/// A box in degrees.
struct Bounds {
    longitude: Range<f64>,
    latitude: Range<f64>,
}

impl Shape {
    /// Metres from the center to a point inside; `None` for a point outside.
    pub fn distance_inside(&self, point: Point) -> Option<f64> {
        match self {
            Shape::Circle { center, radius } => Some(center.distance(point)).filter(|distance| distance <= radius),
            Shape::Box { center, width, height } => {
                // Of the longitude only where the point is: parallels get shorter towards the poles.
                let inside = latitude_distance(point.latitude, center.latitude) <= height / 2.0
                    && point.distance(Point { longitude: center.longitude, ..point }) <= width / 2.0;
                inside.then(|| center.distance(point))
            }
            Shape::Polygon(polygon) => polygon.contains(point).then(|| polygon.centroid.distance(point)),
        }
    }

    /// Ranges of scores that together hold all points inside, and others. In the order in which Redis looks at them: what
    /// is not sorted is answered in it.
    pub fn score_ranges(&self) -> impl Iterator<Item = Range<f64>> {
        let mut cells = self.cells();
        // Round the globe, neighbours on different sides are the same.
        for at in (1..cells.len()).rev() {
            if cells[..at].contains(&cells[at]) {
                cells[at] = None;
            }
        }
        cells.into_iter().flatten().map(Cell::scores)
    }

    fn center(&self) -> Point {
        match self {
            Shape::Circle { center, .. } | Shape::Box { center, .. } => *center,
            Shape::Polygon(polygon) => polygon.centroid,
        }
    }

    /// The center's cell and those around it, as far as they are needed.
    fn cells(&self) -> [Option<Cell>; 9] {
        let (center, bounds) = (self.center(), self.bounds());
        let mut step = steps_for(self.reach(&bounds), center.latitude);
        let mut around = Around::new(center, step);
        if step > 1 && !around.covers(&bounds) {
            step -= 1;
            around = Around::new(center, step);
        }
        let [own, north, south, east, west, north_east, north_west, south_east, south_west] = around.0;
        let (longitude, latitude) = own.area();
        let is_fine = step >= 2;
        let to_north = !(is_fine && latitude.end > bounds.latitude.end);
        let to_south = !(is_fine && latitude.start < bounds.latitude.start);
        let to_east = !(is_fine && longitude.end > bounds.longitude.end);
        let to_west = !(is_fine && longitude.start < bounds.longitude.start);
        [
            Some(own),
            to_north.then_some(north),
            to_south.then_some(south),
            to_east.then_some(east),
            to_west.then_some(west),
            (to_north && to_east).then_some(north_east),
            (to_north && to_west).then_some(north_west),
            (to_south && to_east).then_some(south_east),
            (to_south && to_west).then_some(south_west),
        ]
    }

    fn bounds(&self) -> Bounds {
        let (center, width, height) = match self {
            Shape::Circle { center, radius } => (center, *radius, *radius),
            Shape::Box { center, width, height } => (center, width / 2.0, height / 2.0),
            Shape::Polygon(polygon) => return polygon.bounds(),
        };
        let up = degrees(height / EARTH_RADIUS);
        let towards_pole = |latitude: f64| degrees(width / EARTH_RADIUS / latitude.to_radians().cos());
        // The side that lies nearer to the pole is the wider one in degrees.
        let aside =
            if center.latitude < 0.0 { towards_pole(center.latitude - up) } else { towards_pole(center.latitude + up) };
        Bounds {
            longitude: center.longitude - aside..center.longitude + aside,
            latitude: center.latitude - up..center.latitude + up,
        }
    }

    /// Metres from the center to the farthest point inside, or more.
    fn reach(&self, bounds: &Bounds) -> f64 {
        match self {
            Shape::Circle { radius, .. } => *radius,
            Shape::Box { width, height, .. } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
            Shape::Polygon(polygon) => {
                let corner = |longitude, latitude| polygon.centroid.distance(Point { longitude, latitude });
                let Bounds { longitude, latitude } = bounds;
                [
                    corner(longitude.start, latitude.end),
                    corner(longitude.end, latitude.end),
                    corner(longitude.start, latitude.start),
                    corner(longitude.end, latitude.start),
                ]
                .into_iter()
                .fold(0.0, f64::max)
            }
        }
    }
}

/// Bits of each coordinate of the finest grid whose cells are not smaller than the reach.
fn steps_for(reach: f64, latitude: f64) -> u32 {
    if reach == 0.0 {
        return STEP_MAX;
    }
    let (mut step, mut range) = (1_i32, reach);
    while range < MERCATOR_MAX {
        range *= 2.0;
        step += 1;
    }
    step -= 2;
    // Cells get narrower towards the poles.
    step -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    step.clamp(1, STEP_MAX as i32) as u32
}

/// A cell of the grid with 2^step columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    step: u32,
}

impl Cell {
    fn of(point: Point, step: u32, latitudes: Range<f64>) -> Cell {
        let offset = |at: f64, range: Range<f64>| {
            let cells = (1_u64 << step) as f64;
            ((at - range.start) / (range.end - range.start) * cells) as u32
        };
        let x = offset(point.longitude, LONGITUDE_MIN..LONGITUDE_MAX);
        let y = offset(point.latitude, latitudes);
        Cell { bits: spread(y) | spread(x) << 1, step }
    }

    /// Longitudes and latitudes.
    fn area(self) -> (Range<f64>, Range<f64>) {
        let range = |at: u32, min: f64, max: f64| {
            let (cells, scale) = ((1_u64 << self.step) as f64, max - min);
            let edge = |at: f64| min + (at / cells) * scale;
            edge(f64::from(at))..edge(f64::from(at) + 1.0)
        };
        (
            range(gather(self.bits >> 1), LONGITUDE_MIN, LONGITUDE_MAX),
            range(gather(self.bits), LATITUDE_MIN, LATITUDE_MAX),
        )
    }

    /// The scores of the points in it.
    fn scores(self) -> Range<f64> {
        let shift = 52 - self.step * 2;
        (self.bits << shift) as f64..((self.bits + 1) << shift) as f64
    }

    /// The cell so many columns and rows away; the grid is round in both directions. The last edge of the map has a
    /// column and a row of its own, which are left only by moving.
    fn moved(self, columns: i32, rows: i32) -> Cell {
        let mask = (1 << self.step) - 1;
        let moved = |at: u32, by: i32| if by == 0 { at } else { at.wrapping_add_signed(by) & mask };
        let (x, y) = (moved(gather(self.bits >> 1), columns), moved(gather(self.bits), rows));
        Cell { bits: spread(y) | spread(x) << 1, step: self.step }
    }
}

/// A cell and the eight around it: own, N, S, E, W, NE, NW, SE, SW.
struct Around([Cell; 9]);

impl Around {
    fn new(center: Point, step: u32) -> Around {
        // A polygon's centroid may lie beyond the last latitude.
        let center = Point { latitude: center.latitude.clamp(LATITUDE_MIN, LATITUDE_MAX), ..center };
        let own = Cell::of(center, step, LATITUDE_MIN..LATITUDE_MAX);
        let offsets = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        Around(offsets.map(|(columns, rows)| own.moved(columns, rows)))
    }

    fn covers(&self, bounds: &Bounds) -> bool {
        let [_, north, south, east, west, ..] = self.0;
        !(north.area().1.end < bounds.latitude.end
            || south.area().1.start > bounds.latitude.start
            || east.area().0.end < bounds.longitude.end
            || west.area().0.start > bounds.longitude.start)
    }
}

/// Puts the bits of a number at the even places.
fn spread(bits: u32) -> u64 {
    let mut bits = u64::from(bits);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// The bits at the even places.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(longitude: f64, latitude: f64) -> Point {
        Point { longitude, latitude }
    }

    const PALERMO: Point = at(13.361389, 38.115556);
    const CATANIA: Point = at(15.087269, 37.502669);

    #[test]
    fn scores_hashes_and_distances_are_those_of_redis() {
        assert_eq!((PALERMO.score(), CATANIA.score()), (3479099956230698.0, 3479447370796909.0));
        let (palermo, catania) = (Point::of_score(PALERMO.score()), Point::of_score(CATANIA.score()));
        assert_eq!(palermo, at(13.361389338970184, 38.1155563954963));
        assert_eq!(&palermo.geohash(), b"sqc8b49rny0");
        assert_eq!(&catania.geohash(), b"sqdtr74hyu0");
        assert_eq!((palermo.distance(catania) * 10_000.0).round(), 1_662_741_516.0);
    }

    #[test]
    fn the_corners_of_the_map_have_scores() {
        for longitude in [LONGITUDE_MIN, LONGITUDE_MAX] {
            for latitude in [LATITUDE_MIN, LATITUDE_MAX] {
                let point = at(longitude, latitude);
                assert!(point.is_valid());
                assert!(point.score() <= (1_u64 << 54) as f64);
                assert!(Point::of_score(point.score()).is_valid());
            }
        }
        assert!(!at(180.1, 0.0).is_valid() && !at(0.0, -85.1).is_valid());
        assert!(Point::of_score(-1.0).is_valid() && Point::of_score(f64::INFINITY).is_valid());
    }

    #[test]
    fn a_polygon_knows_inside_from_outside() {
        let arrow = Polygon::new(vec![at(0.0, 0.0), at(4.0, 4.0), at(8.0, 0.0), at(4.0, 2.0)]);
        assert!(arrow.contains(at(4.0, 3.0)) && arrow.contains(at(1.0, 0.9)));
        assert!(!arrow.contains(at(4.0, 1.0)) && !arrow.contains(at(4.0, 5.0)) && !arrow.contains(at(-1.0, 0.0)));
    }

    fn point() -> impl Strategy<Value = Point> {
        // Beyond 80 degrees the grid's estimate of widths is known to miss some.
        (-180.0..180.0, -80.0..80.0).prop_map(|(longitude, latitude)| at(longitude, latitude))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_score_gives_its_point_back(point in point()) {
            let back = Point::of_score(point.score());
            prop_assert_eq!(back.score(), point.score());
            prop_assert!(point.distance(back) < 1.0);
        }

        #[test]
        fn what_is_inside_lies_in_the_ranges(
            center in point(), size in 0.0..13.0_f64, ratio in 0.1..1.0_f64, turn in 0.0..std::f64::consts::TAU, far in 0.0..1.0_f64,
        ) {
            let radius = size.exp();
            let circle = Shape::Circle { center, radius };
            let rectangle = Shape::Box { center, width: radius, height: radius * ratio };
            let (up, aside) = (radius * far * turn.sin(), radius * far * turn.cos());
            let latitude = center.latitude + degrees(up / EARTH_RADIUS);
            let longitude = center.longitude + degrees(aside / EARTH_RADIUS / latitude.to_radians().cos());
            let longitude = (longitude + 540.0).rem_euclid(360.0) - 180.0;
            let found = at(longitude, latitude);
            prop_assume!(found.is_valid());
            let found = Point::of_score(found.score());
            for shape in [circle, rectangle] {
                let ranges: Vec<_> = shape.score_ranges().collect();
                let holds = ranges.iter().filter(|range| range.contains(&found.score())).count();
                prop_assert!(holds <= 1, "{shape:?}: {found:?} is found {holds} times");
                prop_assert!(holds == 1 || shape.distance_inside(found).is_none(), "{shape:?}: {found:?} is missed");
            }
        }

        #[test]
        fn bits_come_back(bits in any::<u32>(), other in any::<u32>()) {
            let both = spread(bits) | spread(other) << 1;
            prop_assert_eq!((gather(both), gather(both >> 1)), (bits, other));
        }
    }
}
