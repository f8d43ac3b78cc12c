//! A treemap: rectangles whose areas are as their sizes, as square as they can be.
//!
//! Bruls, Huizing, van Wijk, *Squarified Treemaps* (2000).

/// A rectangle, in the units of what it is cut from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Area {
    /// The rectangle without a margin on each side.
    pub(super) fn within(self, left: f64, top: f64, right: f64, bottom: f64) -> Self {
        let (width, height) = ((self.width - left - right).max(0.0), (self.height - top - bottom).max(0.0));
        Self { x: self.x + left, y: self.y + top, width, height }
    }

    fn shorter(self) -> f64 {
        self.width.min(self.height)
    }

    /// Cuts a strip of an area off the longer side; gives it, and the rest.
    fn cut(self, area: f64) -> (Self, Self) {
        if self.width >= self.height {
            let width = if self.height > 0.0 { (area / self.height).min(self.width) } else { 0.0 };
            let rest = Self { x: self.x + width, width: self.width - width, ..self };
            (Self { width, ..self }, rest)
        } else {
            let height = if self.width > 0.0 { (area / self.width).min(self.height) } else { 0.0 };
            let rest = Self { y: self.y + height, height: self.height - height, ..self };
            (Self { height, ..self }, rest)
        }
    }
}

/// Cuts a rectangle into one for each size, in their order; sizes that descend give the best shapes.
pub(super) fn squarified(sizes: &[u64], whole: Area) -> Vec<Area> {
    let sum: f64 = sizes.iter().map(|size| number(*size)).sum();
    let scale = if sum > 0.0 { whole.width * whole.height / sum } else { 0.0 };
    let areas: Vec<f64> = sizes.iter().map(|size| number(*size) * scale).collect();
    let (mut cut, mut rest, mut at) = (Vec::with_capacity(sizes.len()), whole, 0);
    while at < areas.len() {
        let end = row_end(&areas, at, rest.shorter());
        let row = &areas[at..end];
        let (mut strip, other) = rest.cut(row.iter().sum());
        let is_upright = rest.width >= rest.height;
        for area in row {
            let (own, left) = strip.slice(*area, is_upright);
            cut.push(own);
            strip = left;
        }
        (rest, at) = (other, end);
    }
    cut
}

impl Area {
    /// Cuts an area off the start of a strip: at its top where it is upright, else at its left.
    fn slice(self, area: f64, is_upright: bool) -> (Self, Self) {
        if is_upright {
            let height = if self.width > 0.0 { area / self.width } else { 0.0 };
            (Self { height, ..self }, Self { y: self.y + height, height: self.height - height, ..self })
        } else {
            let width = if self.height > 0.0 { area / self.height } else { 0.0 };
            (Self { width, ..self }, Self { x: self.x + width, width: self.width - width, ..self })
        }
    }
}

/// The end of the row that begins at `at` along a side: one more would make its worst rectangle longer.
fn row_end(areas: &[f64], at: usize, side: f64) -> usize {
    let mut end = at + 1;
    while end < areas.len() && worst(&areas[at..=end], side) <= worst(&areas[at..end], side) {
        end += 1;
    }
    end
}

/// The greatest ratio of sides in a row of areas.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let (least, most) =
        row.iter().fold((f64::MAX, 0.0_f64), |(least, most), area| (least.min(*area), most.max(*area)));
    if sum <= 0.0 || side <= 0.0 || least <= 0.0 {
        return f64::MAX;
    }
    let (side, sum) = (side * side, sum * sum);
    (side * most / sum).max(sum / (side * least))
}

/// A size as a number of the picture.
#[allow(clippy::cast_precision_loss, reason = "a pixel is larger")]
fn number(size: u64) -> f64 {
    size as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_as_sizes_and_nearly_square() {
        let whole = Area { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };
        let sizes = [6, 6, 4, 3, 2, 2, 1];
        let cut = squarified(&sizes, whole);
        for (size, area) in sizes.iter().zip(&cut) {
            assert!((area.width * area.height - number(*size) * 10_000.0).abs() < 1e-6, "{area:?}");
            let ratio = area.width.max(area.height) / area.width.min(area.height);
            assert!(ratio < 3.0, "{area:?}");
            assert!(area.x >= 10.0 && area.x + area.width <= 610.0 + 1e-6);
            assert!(area.y >= 20.0 && area.y + area.height <= 420.0 + 1e-6);
        }
        // The paper's own example.
        assert_eq!((cut[0].width, cut[0].height), (300.0, 200.0));
        for (index, area) in cut.iter().enumerate() {
            let overlaps = |other: &Area| {
                let apart = area.x + area.width <= other.x + 1e-6 || other.x + other.width <= area.x + 1e-6;
                !apart && area.y + area.height > other.y + 1e-6 && other.y + other.height > area.y + 1e-6
            };
            assert!(cut[index + 1..].iter().all(|other| !overlaps(other)), "{index}");
        }
    }

    #[test]
    fn nothing_has_no_area() {
        let whole = Area { x: 0.0, y: 0.0, width: 10.0, height: 10.0 };
        assert!(squarified(&[], whole).is_empty());
        for area in
            squarified(&[0, 0], whole).into_iter().chain(squarified(&[3], whole.within(6.0, 0.0, 6.0, 0.0)))
        {
            assert!(area.width * area.height == 0.0 && area.x.is_finite() && area.y.is_finite(), "{area:?}");
        }
    }
}
