//! Composite types of Postgres, for writing many rows with one parameter.

/// Lets sqlx send values of a Rust type, and arrays of them, as a composite type of Postgres.
macro_rules! composite_type {
    ($type:ty, $name:literal) => {
        impl sqlx::Type<sqlx::Postgres> for $type {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::with_name($name)
            }
        }

        impl sqlx::postgres::PgHasArrayType for $type {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::array_of($name)
            }
        }
    };
}
pub(crate) use composite_type;
