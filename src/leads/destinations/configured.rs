//! The destinations that the publisher has named.

use super::Destination;

#[derive(Debug)]
pub struct Configured {
    /// Tells it from others, on pages and in rows.
    pub name: String,
    /// The offers whose leads it takes; none: all.
    pub offers: Vec<String>,
    pub destination: Box<dyn Destination>,
}

#[derive(Debug, Default)]
pub struct Destinations(pub Vec<Configured>);

impl Destinations {
    /// Those that take the leads of an offer.
    pub fn taking<'a>(&'a self, offer: &str) -> impl Iterator<Item = &'a Configured> {
        let takes = |configured: &&Configured| {
            configured.offers.is_empty() || configured.offers.iter().any(|known| known.eq_ignore_ascii_case(offer))
        };
        self.0.iter().filter(takes)
    }
}
