//! Composite types of Postgres: many rows in one parameter, or in one column.

/// Says which composite type of Postgres a Rust type is, alone and in arrays. Its fields are those of that type, in order.
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
