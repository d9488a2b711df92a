//! The rooms of the page as plain structs, free of the page: `web` passes them on as they are, and the
//! command line uses the same ones.

pub mod arrays;
pub mod playground;
pub mod prior;
pub mod race;
pub mod studio;
