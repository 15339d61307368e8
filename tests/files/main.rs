//! Model files: what is right is read as it is, what is not is refused in one sentence.

mod corpus;
mod disk;
mod hostile;
mod hostile_json;
mod right;
