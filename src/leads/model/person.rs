//! What a person's fields tell: who it is, and whether Partner Center made it up.

use super::lead::Person;

impl Person {
    /// What tells this person from others: the e-mail address, or else name, company and phone. None: nothing does.
    pub fn identity(&self) -> Option<String> {
        let email = self.email.trim().to_lowercase();
        // Something like `n/a` is the same for everybody.
        if email.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty()) {
            return Some(format!("email\n{email}"));
        }
        let parts = [&self.first_name, &self.last_name, &self.company, &self.phone, &self.email];
        let parts = parts.map(|part| part.trim().to_lowercase());
        (!parts.iter().all(String::is_empty)).then(|| format!("person\n{}", parts.join("\n")))
    }

    /// Whether it is the test that Partner Center sends (contract 7.3). Only the e-mail address says so: it is what the
    /// person would be reached by, so nobody hides a real lead by writing the mark into another field, and nobody who can
    /// be reached has an address of this form.
    pub fn is_test(&self) -> bool {
        let email = self.email.trim().to_ascii_lowercase();
        email
            .strip_suffix("@test.com")
            .and_then(|name| name.strip_prefix("msft_test_"))
            .is_some_and(|rest| !rest.contains('@'))
    }

    /// Takes over what is blank here. `true`: something was.
    pub fn fill(&mut self, newer: &Self) -> bool {
        let fields = [
            (&mut self.first_name, &newer.first_name),
            (&mut self.last_name, &newer.last_name),
            (&mut self.email, &newer.email),
            (&mut self.phone, &newer.phone),
            (&mut self.country, &newer.country),
            (&mut self.company, &newer.company),
            (&mut self.title, &newer.title),
        ];
        let mut filled = false;
        for (old, new) in fields {
            filled |= fill(old, new);
        }
        filled
    }

    /// The name as people write it.
    pub fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }
}

/// Takes over a text where there is none. `true`: it was.
pub fn fill(old: &mut String, new: &str) -> bool {
    let fills = old.is_empty() && !new.is_empty();
    if fills {
        new.clone_into(old);
    }
    fills
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(email: &str) -> Person {
        Person { email: email.into(), first_name: "MSFT_TEST_1".into(), ..Person::default() }
    }

    #[test]
    fn only_the_mail_address_makes_a_test() {
        for (email, test) in [
            ("MSFT_TEST_637000000000000000@test.com", true),
            (" msft_test_1@TEST.com ", true),
            ("MSFT_TEST_@test.com", true),
            ("msft_test_1@test.com.example", false),
            ("boss@contoso.com", false),
            ("MSFT_TEST_1@contoso.com", false),
            ("MSFT_TEST_boss@contoso.com,x@test.com", false),
            ("", false),
        ] {
            assert_eq!(of(email).is_test(), test, "{email}");
        }
    }

    #[test]
    fn a_person_is_known_by_mail_or_else_by_everything_that_was_told() {
        assert_eq!(of(" Ann@Contoso.com").identity(), of("ann@contoso.com").identity());
        assert!(of("ann@contoso.com").identity() != of("bob@contoso.com").identity());
        let anonymous = |name: &str| Person { email: "n/a".into(), first_name: name.into(), ..Person::default() };
        assert!(anonymous("Ann").identity() != anonymous("Bob").identity());
        assert_eq!(Person { country: "US".into(), ..Person::default() }.identity(), None);
    }

    #[test]
    fn what_is_known_stays_and_what_is_blank_is_filled() {
        let mut person = Person { email: "a@b.c".into(), ..Person::default() };
        let newer = Person { email: "A@B.C".into(), phone: "1".into(), ..Person::default() };
        assert!(person.fill(&newer) && !person.fill(&newer));
        assert_eq!((person.email.as_str(), person.phone.as_str()), ("a@b.c", "1"));
    }
}
