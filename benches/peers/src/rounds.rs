//! Results of several rounds.

/// The result of each round, or its error.
#[derive(Debug)]
pub(crate) struct Rounds<T>(Vec<Result<T, String>>);

impl<T> Rounds<T> {
    pub(crate) fn push(&mut self, round: Result<T, String>) {
        self.0.push(round);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Result<T, String>> {
        self.0.iter()
    }

    /// The rounds that completed.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|round| round.as_ref().ok())
    }

    /// The first error.
    pub(crate) fn error(&self) -> Option<&str> {
        self.0.iter().find_map(|round| round.as_ref().err()).map(String::as_str)
    }

    /// The median over the completed rounds.
    pub(crate) fn median(&self, value: impl Fn(&T) -> f64) -> Option<f64> {
        let values = self.in_order(value);
        values.get(values.len() / 2).copied()
    }

    /// Minimum and maximum over the completed rounds.
    pub(crate) fn spread(&self, value: impl Fn(&T) -> f64) -> Option<(f64, f64)> {
        let values = self.in_order(value);
        Some((*values.first()?, *values.last()?))
    }

    fn in_order(&self, value: impl Fn(&T) -> f64) -> Vec<f64> {
        let mut values: Vec<_> = self.whole().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
