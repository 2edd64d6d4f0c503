//! What was found in an image as pages show it: shapes to be drawn over it, and a table. Everything is text of others:
//! numbers are read as numbers, and the rest is escaped where it is shown.

use serde::Serialize;
use serde_json::{Value, json};

/// Findings of a kind on a page.
const MOST_FOUND: usize = 200;

/// A place in an image that is drawn over it.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    kind: &'static str,
    label: String,
    corners: Vec<(f64, f64)>,
}

/// One thing that was found, as a row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Found {
    text: String,
    /// Of a hundred.
    sure: Option<u8>,
    /// `x, y – x, y` in pixels.
    place: String,
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite() && number.abs() < 1e6)
}

fn corners_of_box(value: &Value) -> Vec<(f64, f64)> {
    match [&value["x"], &value["y"], &value["w"], &value["h"]].map(number) {
        [Some(x), Some(y), Some(w), Some(h)] if w > 0.0 && h > 0.0 => {
            vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
        }
        _ => Vec::new(),
    }
}

fn corners_of_polygon(value: &Value) -> Vec<(f64, f64)> {
    let points = value.as_array().into_iter().flatten().take(16);
    points.filter_map(|point| Some((number(&point["x"])?, number(&point["y"])?))).collect()
}

fn listed<'a>(found: &'a Value, feature: &str) -> impl Iterator<Item = &'a Value> {
    found[feature]["values"].as_array().into_iter().flatten().take(MOST_FOUND)
}

fn lines_read(found: &Value) -> impl Iterator<Item = &Value> {
    let blocks = found["readResult"]["blocks"].as_array().into_iter().flatten();
    blocks.flat_map(|block| block["lines"].as_array().into_iter().flatten()).take(MOST_FOUND)
}

fn places(found: &Value) -> Vec<Place> {
    let name = |one: &Value| one["tags"][0]["name"].as_str().unwrap_or_default().to_owned();
    let objects = listed(found, "objectsResult").map(|one| Place {
        kind: "object",
        label: name(one),
        corners: corners_of_box(&one["boundingBox"]),
    });
    let people = (1..).zip(listed(found, "peopleResult")).map(|(number, one)| Place {
        kind: "person",
        label: number.to_string(),
        corners: corners_of_box(&one["boundingBox"]),
    });
    let lines = lines_read(found).map(|one| Place {
        kind: "line",
        label: String::new(),
        corners: corners_of_polygon(&one["boundingPolygon"]),
    });
    objects.chain(people).chain(lines).filter(|place| place.corners.len() > 1).collect()
}

/// The places as an SVG's numbers; None where there are none, or the image's size is not known.
pub fn drawing(found: &Value) -> Option<Value> {
    let (width, height) = (number(&found["metadata"]["width"])?, number(&found["metadata"]["height"])?);
    let places = places(found);
    if width < 1.0 || height < 1.0 || places.is_empty() {
        return None;
    }
    let size = (width.max(height) / 32.0).round();
    let shapes: Vec<Value> = places
        .into_iter()
        .map(|Place { kind, label, corners }| {
            let points = corners.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
            let low = corners.iter().fold(f64::MAX, |least, (_, y)| least.min(*y));
            let high = corners.iter().fold(f64::MIN, |most, (_, y)| most.max(*y));
            // Objects are named at the top and people at the bottom: they are often the same place.
            let y = if kind == "person" { high - size / 3.0 } else { (low + size * 1.1).max(size) };
            json!({ "kind": kind, "label": label, "points": points, "x": corners[0].0 + size / 4.0, "y": y })
        })
        .collect();
    Some(json!({ "width": width, "height": height, "size": size, "shapes": shapes }))
}

/// All that was found, feature by feature, as a table.
pub fn table(found: &Value) -> Vec<Value> {
    let row = |text: &str, sure: &Value, corners: &[(f64, f64)]| Found {
        text: text.to_owned(),
        sure: number(sure).map(|sure| (sure.clamp(0.0, 1.0) * 100.0).round() as u8),
        place: around(corners),
    };
    let mut rows: Vec<(&str, Vec<Found>)> = Vec::new();
    if let Some(text) = found["captionResult"]["text"].as_str() {
        rows.push(("caption", vec![row(text, &found["captionResult"]["confidence"], &[])]));
    }
    let all = |feature, of: &dyn Fn(usize, &Value) -> Found| {
        let of = |(index, one)| of(index, one);
        listed(found, feature).enumerate().map(of).collect::<Vec<_>>()
    };
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let tags = all("tagsResult", &|_, one| row(&name(one), &one["confidence"], &[]));
    let objects = all("objectsResult", &|_, one| {
        let tag = &one["tags"][0];
        row(&name(tag), &tag["confidence"], &corners_of_box(&one["boundingBox"]))
    });
    let people = all("peopleResult", &|index, one| {
        row(&(index + 1).to_string(), &one["confidence"], &corners_of_box(&one["boundingBox"]))
    });
    let read = lines_read(found).map(|one| {
        row(one["text"].as_str().unwrap_or_default(), &Value::Null, &corners_of_polygon(&one["boundingPolygon"]))
    });
    for (feature, result, found_of_it) in [
        ("tags", "tagsResult", tags),
        ("objects", "objectsResult", objects),
        ("people", "peopleResult", people),
        ("read", "readResult", read.collect()),
    ] {
        if !found[result].is_null() {
            rows.push((feature, found_of_it));
        }
    }
    rows.into_iter().map(|(feature, found)| json!({ "feature": feature, "found": found })).collect()
}

/// The box around corners.
fn around(corners: &[(f64, f64)]) -> String {
    if corners.is_empty() {
        return String::new();
    }
    let fold = |of: fn(&(f64, f64)) -> f64| {
        corners.iter().map(of).fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)))
    };
    let ((left, right), (top, bottom)) = (fold(|corner| corner.0), fold(|corner| corner.1));
    format!("{left:.0}, {top:.0} – {right:.0}, {bottom:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_numbers_only_and_the_table_says_the_same() {
        let found = json!({
            "metadata": { "width": 640, "height": 480 },
            "captionResult": { "text": "a <b>", "confidence": 0.9 },
            "objectsResult": { "values": [
                { "boundingBox": { "x": 10, "y": 20, "w": 30, "h": 40 }, "tags": [{ "name": "\"dog\"", "confidence": 0.5 }] },
                { "boundingBox": { "x": "1\" onload=", "y": 0, "w": 1, "h": 1 }, "tags": [] },
            ] },
            "readResult": { "blocks": [{ "lines": [{ "text": "EXIT", "boundingPolygon": [{ "x": 1, "y": 2 }, { "x": 3, "y": 2 }, { "x": 3, "y": 5 }] }] }] },
            "peopleResult": { "values": [] },
        });
        let drawn = drawing(&found).unwrap();
        let points: Vec<&str> =
            drawn["shapes"].as_array().unwrap().iter().map(|it| it["points"].as_str().unwrap()).collect();
        assert_eq!(points, ["10,20 40,20 40,60 10,60", "1,2 3,2 3,5"]);
        let table = table(&found);
        let features: Vec<&str> = table.iter().map(|row| row["feature"].as_str().unwrap()).collect();
        assert_eq!(features, ["caption", "objects", "people", "read"]);
        assert_eq!(table[1]["found"][0], json!({ "text": "\"dog\"", "sure": 50, "place": "10, 20 – 40, 60" }));
        assert_eq!(table[3]["found"][0]["place"], "1, 2 – 3, 5");
        assert_eq!(drawing(&json!({ "metadata": { "width": 1e9, "height": 1 } })), None);
    }
}
