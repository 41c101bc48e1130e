//! Measurements in turns: what is measured and its floor, one right after the other, several times.

/// The median; of an even count, the mean of the two in the middle.
///
/// # Panics
/// Without a value.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// The median of the ratios of pairs, with the lowest and the highest: `2.1 (1.9 to 2.3)`.
pub(crate) fn ratio(pairs: &[(f64, f64)]) -> String {
    let ratios = || pairs.iter().map(|(measured, floor)| measured / floor);
    let (lowest, highest) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
    format!("{:.2} ({lowest:.2} to {highest:.2})", median(ratios()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        assert_eq!(ratio(&[(2.0, 1.0), (9.0, 3.0), (1.0, 1.0)]), "2.00 (1.00 to 3.00)");
    }
}
