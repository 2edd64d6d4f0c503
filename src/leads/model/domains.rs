//! Mail domains that say nothing of whom somebody works for.

/// Each also stands for what lies below it (`yahoo.co.uk` is not below `yahoo.com`, so both stand here).
pub const PUBLIC: &[&str] = &[
    "126.com",
    "139.com",
    "163.com",
    "189.cn",
    "aliyun.com",
    "aol.com",
    "bk.ru",
    "btinternet.com",
    "daum.net",
    "duck.com",
    "fastmail.com",
    "foxmail.com",
    "free.fr",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hanmail.net",
    "hey.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "hotmail.it",
    "icloud.com",
    "inbox.ru",
    "laposte.net",
    "libero.it",
    "list.ru",
    "live.cn",
    "live.com",
    "live.co.uk",
    "live.nl",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "outlook.fr",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rediffmail.com",
    "rocketmail.com",
    "seznam.cz",
    "sina.cn",
    "sina.com",
    "sohu.com",
    "t-online.de",
    "tom.com",
    "tutanota.com",
    "uol.com.br",
    "vip.163.com",
    "wanadoo.fr",
    "web.de",
    "yahoo.co.in",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.com.br",
    "yahoo.de",
    "yahoo.fr",
    "yandex.com",
    "yandex.ru",
    "yeah.net",
    "ymail.com",
    "zoho.com",
];

/// The domain of an address, where it says something.
pub fn telling(email: &str) -> Option<String> {
    let domain = email.trim().rsplit_once('@')?.1.trim_end_matches('.').to_lowercase();
    let public = PUBLIC.iter().any(|known| domain == *known || domain.ends_with(&format!(".{known}")));
    (domain.contains('.') && !public).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_domain_tells_nothing() {
        for (email, domain) in [
            ("ann@Contoso.com", Some("contoso.com")),
            ("a@mail.contoso.co.uk", Some("mail.contoso.co.uk")),
            ("a@qq.com", None),
            ("a@vip.qq.com", None),
            ("a@notqq.com", Some("notqq.com")),
            ("a@localhost", None),
            ("nobody", None),
        ] {
            assert_eq!(telling(email).as_deref(), domain, "{email}");
        }
    }
}
