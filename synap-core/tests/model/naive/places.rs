//! Places: every member is looked at, whatever the grid is.

use super::*;

type Point = [f64; 2];

const LATITUDE: f64 = 85.05112878;

/// A place that was found, with its score and its distance in metres.
type Found = (Bytes, f64, f64);

impl Model {
    /// Equal distances stand in any order, and which of them are among the first few is anybody's guess. At the edges of the
    /// map the grid misses some.
    pub(super) fn are_places_undetermined(&self, words: &[Bytes]) -> bool {
        let name = words[0].as_slice();
        let has = |token: &[u8]| words.iter().any(|word| word == token);
        match name {
            b"GEOADD" => words[2..].iter().filter_map(|word| float(word)).any(|degrees| degrees.abs() > 84.0),
            b"GEOSEARCHSTORE" => has(b"COUNT") || self.reaches_edges(&words[2]),
            _ if has(b"STORE") || has(b"STOREDIST") => has(b"COUNT") || self.reaches_edges(&words[1]),
            _ => false,
        }
    }

    fn reaches_edges(&self, key: &[u8]) -> bool {
        self.zset_or_error_later(key).values().any(|score| {
            let [longitude, latitude] = point_of(*score);
            longitude.abs() > 170.0 || latitude.abs() > 84.0
        })
    }

    pub(super) fn places(&mut self, name: &str, args: &[Bytes]) -> Answer {
        let key = &args[0];
        match name {
            "GEOADD" => self.add_places(key, &args[1..]),
            "GEOPOS" | "GEOHASH" => {
                let zset = self.zset(key)?.unwrap_or_default();
                let show = |member: &Bytes| match zset.get(member) {
                    None => Tree::leaf("nil"),
                    Some(score) if name == "GEOPOS" => coordinates(point_of(*score)),
                    Some(score) => Tree::bytes(geohash(point_of(*score)).as_bytes()),
                };
                Ok(Tree::List(args[1..].iter().map(show).collect()))
            }
            "GEODIST" => {
                let zset = self.zset(key)?.unwrap_or_default();
                let (Some(from), Some(to)) = (zset.get(&args[1]), zset.get(&args[2])) else { return nil() };
                Ok(length(distance(point_of(*from), point_of(*to)) / args.get(3).map_or(1.0, |name| unit(name))))
            }
            "GEOSEARCH" => self.search(key, None, false, &args[1..]),
            "GEOSEARCHSTORE" => {
                let by_distance = args[2..].iter().any(|word| word == b"STOREDIST");
                self.search(&args[1], Some(key), by_distance, &args[2..])
            }
            "GEORADIUS" | "GEORADIUS_RO" | "GEORADIUSBYMEMBER" | "GEORADIUSBYMEMBER_RO" => {
                let by_member = name.contains("BYMEMBER");
                let from: &[u8] = if by_member { b"FROMMEMBER" } else { b"FROMLONLAT" };
                let at = if by_member { 2 } else { 3 };
                let words = [&[from.to_vec()], &args[1..at], &[b"BYRADIUS".to_vec()], &args[at..]].concat();
                let options = Options(&args[at + 2..]);
                let target = options.value("STORE").or(options.value("STOREDIST"));
                if target.is_some() && ["WITHDIST", "WITHHASH", "WITHCOORD"].iter().any(|with| options.has(with)) {
                    return Err(ERR);
                }
                self.search(key, target, options.has("STOREDIST"), &words)
            }
            other => panic!("the model does not know {other}"),
        }
    }

    fn add_places(&mut self, key: &[u8], args: &[Bytes]) -> Answer {
        let is_option = |word: &&Bytes| [&b"NX"[..], b"XX", b"CH"].contains(&word.as_slice());
        let count = args.iter().take_while(is_option).count();
        let options = Options(&args[..count]);
        if options.has("NX") && options.has("XX") {
            return Err(ERR);
        }
        let mut zset = self.zset(key)?.unwrap_or_default();
        let (mut added, mut moved) = (0, 0);
        for place in args[count..].chunks(3) {
            let score = score_of([float(&place[0]).ok_or(ERR)?, float(&place[1]).ok_or(ERR)?]);
            let old = zset.get(&place[2]).copied();
            if (options.has("NX") && old.is_some()) || (options.has("XX") && old.is_none()) {
                continue;
            }
            zset.insert(place[2].clone(), score);
            added += usize::from(old.is_none());
            moved += usize::from(old.is_some_and(|old| old != score));
        }
        self.put_zset(key, zset);
        int(if options.has("CH") { added + moved } else { added })
    }

    fn search(&mut self, key: &[u8], target: Option<&Bytes>, by_distance: bool, words: &[Bytes]) -> Answer {
        let options = Options(words);
        let (polygon, count) = (options.at("BYPOLYGON"), options.int("COUNT"));
        let has_center = options.has("FROMMEMBER") || options.has("FROMLONLAT");
        let has_shape = options.has("BYRADIUS") || options.has("BYBOX");
        if polygon.is_some_and(|at| has_center || number(&words[at + 1]).is_none_or(|corners| corners < 3))
            || (polygon.is_none() && !(has_center && has_shape))
            || (options.has("ANY") && count.is_none())
        {
            return Err(ERR);
        }
        let zset = self.zset(key)?;
        let target = target.cloned();
        let Some(zset) = zset else {
            return match target {
                Some(target) => self.store(&target, BTreeMap::new()),
                None => Ok(Tree::List(Vec::new())),
            };
        };
        let number_at = |at: usize| float(&words[at]).ok_or(ERR);
        let (inside, unit): (Box<dyn Fn(Point) -> Option<f64>>, f64) = if let Some(at) = polygon {
            let count = number(&words[at + 1]).expect("a number") as usize;
            let corners: Result<Vec<Point>, &'static str> =
                (0..count).map(|i| Ok([number_at(at + 2 + i * 2)?, number_at(at + 3 + i * 2)?])).collect();
            let corners = corners?;
            let center = centroid(&corners);
            (Box::new(move |point| is_inside(&corners, point).then(|| distance(center, point))), 1.0)
        } else {
            let center = match (options.at("FROMMEMBER"), options.at("FROMLONLAT")) {
                (Some(at), _) => point_of(*zset.get(&words[at + 1]).ok_or(ERR)?),
                (_, Some(at)) => [number_at(at + 1)?, number_at(at + 2)?],
                _ => panic!("a center"),
            };
            match (options.at("BYRADIUS"), options.at("BYBOX")) {
                (Some(at), _) => {
                    let unit = unit(&words[at + 2]);
                    let radius = number_at(at + 1)? * unit;
                    (Box::new(move |point| Some(distance(center, point)).filter(|distance| *distance <= radius)), unit)
                }
                (_, Some(at)) => {
                    let unit = unit(&words[at + 3]);
                    let (width, height) = (number_at(at + 1)? * unit, number_at(at + 2)? * unit);
                    let inside = move |point: Point| {
                        let up = distance([center[0], point[1]], center);
                        let aside = distance([center[0], point[1]], point);
                        (up <= height / 2.0 && aside <= width / 2.0).then(|| distance(center, point))
                    };
                    (Box::new(inside), unit)
                }
                _ => panic!("a shape"),
            }
        };
        let mut found: Vec<Found> = zset
            .iter()
            .filter_map(|(member, score)| Some((member.clone(), *score, inside(point_of(*score))?)))
            .collect();
        if let Some(target) = target {
            let score = |place: &Found| if by_distance { place.2 / unit } else { place.1 };
            return self.store(&target, found.iter().map(|place| (place.0.clone(), score(place))).collect());
        }
        found.sort_by(|a, b| order(a.2, b.2));
        let has_ties = found.windows(2).any(|pair| pair[0].2 == pair[1].2);
        let is_sorted = options.has("ASC") || options.has("DESC") || (count.is_some() && !options.has("ANY"));
        if self.reaches_edges(key) || (found.len() > 1 && (has_ties || !is_sorted)) {
            return Ok(Tree::leaf(Tree::ANYTHING));
        }
        if options.has("DESC") {
            found.reverse();
        }
        found.truncate(count.map_or(usize::MAX, |count| count as usize));
        let show = |(member, score, distance): &Found| {
            let mut items = vec![Tree::bytes(member)];
            if options.has("WITHDIST") {
                items.push(length(distance / unit));
            }
            if options.has("WITHHASH") {
                items.push(Tree::leaf(*score as i64));
            }
            if options.has("WITHCOORD") {
                items.push(coordinates(point_of(*score)));
            }
            if items.len() == 1 { items.remove(0) } else { Tree::List(items) }
        };
        Ok(Tree::List(found.iter().map(show).collect()))
    }
}

/// Bit after bit, the longitude first.
fn bits_of(point: Point, latitude: f64) -> u64 {
    let cell = |at: f64, edge: f64| ((at + edge) / (edge + edge) * (1_u64 << 26) as f64) as u64;
    let (x, y) = (cell(point[0], 180.0), cell(point[1], latitude));
    (0..26).rev().fold(0, |bits, bit| bits << 2 | (x >> bit & 1) << 1 | (y >> bit & 1))
}

fn score_of(point: Point) -> f64 {
    bits_of(point, LATITUDE) as f64
}

fn point_of(score: f64) -> Point {
    let bits = score as u64;
    let (mut x, mut y) = (0_u64, 0_u64);
    for bit in (0..26).rev() {
        x = x << 1 | (bits >> (bit * 2 + 1) & 1);
        y = y << 1 | (bits >> (bit * 2) & 1);
    }
    let middle = |cell: u64, edge: f64| {
        let at = |cell: u64| -edge + cell as f64 / (1_u64 << 26) as f64 * (edge + edge);
        (at(cell) + at(cell + 1)) / 2.0
    };
    [middle(x, 180.0), middle(y, LATITUDE)]
}

fn geohash(point: Point) -> String {
    let bits = bits_of(point, 90.0);
    let letter = |at: u64| "0123456789bcdefghjkmnpqrstuvwxyz".as_bytes()[(bits >> (47 - at * 5) & 31) as usize] as char;
    // 52 bits are ten letters and two bits, which are left out.
    (0..10).map(letter).chain(['0']).collect()
}

fn distance(from: Point, to: Point) -> f64 {
    const RADIUS: f64 = 6372797.560856;
    let v = ((to[0].to_radians() - from[0].to_radians()) / 2.0).sin();
    if v == 0.0 {
        return RADIUS * (to[1].to_radians() - from[1].to_radians()).abs();
    }
    let u = ((to[1].to_radians() - from[1].to_radians()) / 2.0).sin();
    2.0 * RADIUS * (u * u + from[1].to_radians().cos() * to[1].to_radians().cos() * v * v).sqrt().asin()
}

fn centroid(corners: &[Point]) -> Point {
    let mean = |of: fn(&Point) -> f64| {
        corners.iter().map(|corner| 6372797.560856 * of(corner)).sum::<f64>() / corners.len() as f64
    };
    let x = mean(|p| p[1].to_radians().cos() * p[0].to_radians().cos());
    let y = mean(|p| p[1].to_radians().cos() * p[0].to_radians().sin());
    let z = mean(|p| p[1].to_radians().sin());
    let degrees = |radians: f64| radians / (std::f64::consts::PI / 180.0);
    [degrees(y.atan2(x)), degrees(z.atan2((x * x + y * y).sqrt()))]
}

fn is_inside(corners: &[Point], point: Point) -> bool {
    let sides = (0..corners.len()).map(|at| (corners[at], corners[(at + corners.len() - 1) % corners.len()]));
    let crossed = sides.filter(|(a, b)| {
        (a[1] > point[1]) != (b[1] > point[1]) && point[0] < (b[0] - a[0]) * (point[1] - a[1]) / (b[1] - a[1]) + a[0]
    });
    crossed.count() % 2 == 1
}

fn unit(name: &[u8]) -> f64 {
    match name {
        b"M" => 1.0,
        b"KM" => 1000.0,
        b"FT" => 0.3048,
        _ => 1609.34,
    }
}

fn length(length: f64) -> Tree {
    Tree::bytes(format!("{length:.4}").as_bytes())
}

fn coordinates(point: Point) -> Tree {
    Tree::List(point.iter().map(|degrees| Tree::double(*degrees)).collect())
}
