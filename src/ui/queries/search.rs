//! Searching renders: by the beginning of their id, of the application's id, or of their name.
//!
//! Each is read from an index, in the order of the index and only as many as are shown, so that a search is as fast with millions of
//! renders, and for a single letter.

use sqlx::PgPool;

/// How many renders a search shows at most.
pub(in crate::ui) const SEARCH_LIMIT: i64 = 50;

/// The ids of the renders that match, each once: first by id, then by the application's id, then by name.
pub(in crate::ui) async fn search(pool: &PgPool, text: &str) -> sqlx::Result<Vec<String>> {
    let mut found = by_id(pool, text).await?;
    for id in by_external_id(pool, text).await?.into_iter().chain(by_name(pool, text).await?) {
        if !found.contains(&id) {
            found.push(id);
        }
    }
    found.truncate(usize::try_from(SEARCH_LIMIT).unwrap_or(usize::MAX));
    Ok(found)
}

// In any collation, what begins with $1 sorts at or after $1, and before one of the two upper bounds: a language sorts `z` last, and
// byte order sorts U+10FFFF last.

async fn by_id(pool: &PgPool, text: &str) -> sqlx::Result<Vec<String>> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM renders
         WHERE id >= $1 AND id <= greatest($1 || 'zzzz', $1 || U&'\\+10FFFF') AND starts_with(id, $1)
         ORDER BY id LIMIT $2",
        text,
        SEARCH_LIMIT,
    );
    ids.fetch_all(pool).await
}

async fn by_external_id(pool: &PgPool, text: &str) -> sqlx::Result<Vec<String>> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM renders
         WHERE external_id >= $1 AND external_id <= greatest($1 || 'zzzz', $1 || U&'\\+10FFFF')
             AND starts_with(external_id, $1)
         ORDER BY external_id, first_seen_at DESC, id DESC LIMIT $2",
        text,
        SEARCH_LIMIT,
    );
    ids.fetch_all(pool).await
}

async fn by_name(pool: &PgPool, text: &str) -> sqlx::Result<Vec<String>> {
    let ids = sqlx::query_scalar!(
        r"SELECT id FROM renders
          WHERE lower(left(name, 100)) LIKE $1 AND name IS NOT NULL
          ORDER BY lower(left(name, 100)) USING ~<~, first_seen_at DESC, id DESC LIMIT $2",
        pattern(text),
        SEARCH_LIMIT,
    );
    ids.fetch_all(pool).await
}

/// The pattern of what begins with a text, in lower case.
fn pattern(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.to_lowercase().chars().take(100) {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_no_wildcard_of_the_text() {
        assert_eq!(pattern("A_b%c\\"), "a\\_b\\%c\\\\%");
        assert_eq!(pattern(&"x".repeat(200)).len(), 101);
    }
}
