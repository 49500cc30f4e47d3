//! Builder methods for option structs.

/// Defines a consuming setter for each public field of an option struct.
///
/// A setter has the name and the type of its field. The structs are `#[non_exhaustive]`, so that
/// other crates build them from `default()` with these methods.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($options:ty { $($field:ident: $type:ty),+ $(,)? }) => {
        impl $options {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}
