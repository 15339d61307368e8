use super::*;

#[test]
fn axes_that_do_not_go_are_named() {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &[2.into(), 0.into(), 5.into()]).unwrap();
    let mut say = |how, axes: &[usize]| g.reduce(how, x, axes, true).unwrap_err().to_string();
    assert_eq!(say(How::Sum, &[]), "sum: no axis was named");
    assert_eq!(say(How::Prod, &[0, 2, 0]), "prod: axis 0 was named twice");
    assert_eq!(say(How::Sum, &[3]), "sum: `x` has 3 axes, but axis 3 was named");
    let of_nothing = "max: axis 1 of [2, 0, 5] has size 0, and of nothing there is no max";
    assert_eq!(say(How::Max, &[0, 1]), of_nothing);
    let y = g.sum(x, &[1], true).unwrap();
    assert_eq!(g.show_shape(y), "[2, 1, 5]");
}

#[test]
fn axes_stay_as_1_or_go() {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &[2.into(), 3.into(), 4.into(), 8.into()]).unwrap();
    for (axes, kept, gone) in [
        (&[0][..], "[1, 3, 4, 8]", "[3, 4, 8]"),
        (&[3], "[2, 3, 4, 1]", "[2, 3, 4]"),
        (&[2, 3], "[2, 3, 1, 1]", "[2, 3]"),
        (&[3, 0, 1], "[1, 1, 4, 1]", "[4]"),
        (&[0, 1, 2, 3], "[1, 1, 1, 1]", "[1]"),
    ] {
        for (keep, shape) in [(true, kept), (false, gone)] {
            let y = g.prod(x, axes, keep).unwrap();
            assert_eq!(g.show_shape(y), shape);
        }
    }
}
