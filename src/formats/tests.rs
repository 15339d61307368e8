//! A block of every format with what it stands for, and of the quantisers how near they come.
//!
//! `tests/formats.rs` has many more blocks, which others made.

use super::*;
use crate::rng::Rng;

/// A type, a block as hexadecimal digits, its first values, and a sum of all of them: FNV-1a over the bytes of
/// the f32. Made by PyPI gguf 0.19.
const BLOCKS: &[(DType, &str, [f32; 4], u32)] = &[
    (
        DType::Q8_0,
        "792b2dc94a8cf96ac2d3f44593c3ab5180ccaf1afd6891a026cb5ca26d4a7bb2e9a7",
        [2.6271057, -3.210907, 4.3201294, -6.7720947],
        0x2b56d42e,
    ),
    (
        DType::Q4_0,
        "ecae47b4e1ecfd0c6a2e1c6a50de6529defb",
        [0.1081543, 0.4326172, 0.7570801, -0.4326172],
        0xdbd63551,
    ),
    (
        DType::Q4_1,
        "3c994612033bf4d776863486bb61ac22229710bd",
        [-0.006901741, -0.027348518, -0.009457588, -0.01712513],
        0x8d601386,
    ),
    (
        DType::Q5_0,
        "33a2f3d03817a04df700811277e2883d04f6c966fc85",
        [-0.0, -0.15740204, 0.10897064, 0.19372559],
        0x4bad9bb1,
    ),
    (
        DType::Q5_1,
        "f5a0e78c2482fa47444a6c2f31309d01e52b4d83480b2dc9",
        [-0.039026022, -0.09711623, -0.27138686, -0.14552474],
        0xf98ca5b2,
    ),
    (
        DType::Q2K,
        "c41a2660747d34910dbe4251ca7be10331e06ab53cae228c6346e52736a5423ec534f81c83a50ae962c11f24ba66b852\
         fa8e88799d1196a21bf6aa0ecc5625e2a64fc6682fafc87ea56e781e5a1a56826094a29a",
        [0.034591675, 0.038864136, 0.030319214, 0.034591675],
        0xb184c2fd,
    ),
    (
        DType::Q3K,
        "f1184891eed5dbf1c2d2cda7b7e0cb3c4f1d6d921d0a3ea06cbad7b56cb21fff0218e7611de37cf4f9543fc99b334008\
         1670d9568c04043d189b9112a8ef0e3a33de558ab06f07b7f7d018a0a6df9d048130ece82ee4d9461bf500ffd381b3a8\
         5ca78e4027cea8bed52f3b8dc00c",
        [-0.002319336, 0.004638672, 0.001159668, -0.001159668],
        0xbf59c203,
    ),
    (
        DType::Q4K,
        "9ba50a923272e596b2b55058e53b20771cc842c9a8073391b02080af8f845cd407b4afc582a09f69f2d89c8a3d56c7b7\
         0f61d9cc5b1627c6efc6535416757b23be3ae4b45025088755ae72014adab02c46a87204eea9d306571099872cf08214\
         68ec86e238deffa93f06b65b46cd7456142e79aa423835f1f64281f306a2a55f49f30649dff30c00d92d470b3e572923",
        [-13.100958, -8.721685, -2.1527767, -9.816504],
        0x0999ef49,
    ),
    (
        DType::Q5K,
        "7e97e61e88a5ae8bba6367f7d60e2d0b18be5b58a941001360adc70e4be5bfad01ecfaeb97ba5c9d3c6b8b27289b4662\
         502c7fef8ceab32c0d861174622f2fc9c72a529fc1069d53fd2adccff82084502b2c88d89c5267709f47c148979fe686\
         06ed6da53a2032515db6f4eee478d9fd86792a34eba651079c3d966d589275ce6b380ddea31b74beb3f75731a426e5f5\
         eb31d325271dd2e28cac830416d8966f914edb8441440f11a808f94c29c1a708",
        [-0.3907318, -0.56632996, -0.84436035, -0.6102295],
        0xe14fbeda,
    ),
    (
        DType::Q6K,
        "2fcd292c0e6c6adf560a45f37a088ca02e512581402594adbcd375691aaa7fc8c9a2e08472c2e65c232a9982140c8198\
         8e50a2ea7fc8406f654c9a9f50f41d03c32a8abcea6f2441b814faf5fb60e66a0eaa783c9e9c7b9345ff89581625d05f\
         c89d3823fe6d1690e42ed204374d3354447a0919a9a1e7da53dc1b66bc47ef9fcf6f4b3ab9630ab85f648fb9065314ad\
         cce563872d193c5f3d9c1faeca009def81c3032e7c0885cb0ff03560e9f791c910896864119745802a8c6b3a50f765ac\
         de7e9a136ec74c55ceced5f5afbd43f34a9f",
        [7.5026093, 7.01857, 6.0504913, 2.9042358],
        0x9156eee9,
    ),
    (
        DType::Iq4Nl,
        "138ca6d3080f8f50ddd726ce547a4dd8c703",
        [0.0054707527, 0.016163588, -0.00024867058, -0.028099775],
        0x73496030,
    ),
    (
        DType::Iq4Xs,
        "9f125fed710216cbaf33ddbda799f329076847a831c704a57fed559133cdd9aad9249b85ac786cb92f8336d269ef3cc6\
         a37cf62c73e7c12226bdf8a1e9f22c96c0ef687d81c5ce104640f2bcbf342b6578b9274a5d43a8fc679065ef02cfe8c3\
         373aae93c126c74a7d0ea3102c8b6ab08a0c34c0ac8e0ea17c7b3ec7e382cd4aa96f5b5ce1c5ae48",
        [1.5526271, -0.8931041, 0.9480643, 0.9480643],
        0xb4d5ea26,
    ),
    (DType::Mxfp4, "80a0c5ff0bed9dee05b10e693d43b2b3be", [0.0, 6.0, -12.0, -3.0], 0xf9fda428),
    (
        DType::Nvfp4,
        "2056214da8914fdad4274d4ef368b7e322ce2b74e237ea99395ec1a3ced9eb17d4f83ec5",
        [0.0, 0.0625, -0.75, -0.125],
        0x9b31acdc,
    ),
    (
        DType::Tq1_0,
        "4d6b24bd9526165737a0d36be63eb8df27cf2ad22c59d0a7beebea60e6796d68e5f8fcfb739f90c4bde5a589da5d3038\
         98ce910cce29",
        [-0.04534912, 0.0, -0.04534912, 0.04534912],
        0x96b9fe01,
    ),
    (
        DType::Tq2_0,
        "88279e22d62ffc965d1c115892153f69b437479e764e7ddf4620b229cb590721a04da75fa41ba32d081840fca16955ea\
         988156f7c37068a20de7518af58586782992",
        [0.0007519722, -0.0015039444, -0.0007519722, -0.0007519722],
        0x568b9b3e,
    ),
    (
        DType::Iq1S,
        "0c1dfaeac1d8ad41a019d1f3bbb88068831f9b8f2e6c3f37e95b671b13af529777478072b78eda69f04f153beaf337ef\
         0777",
        [0.08316994, 0.009241104, -0.06468773, 0.009241104],
        0x00ec9a91,
    ),
    (
        DType::Iq1M,
        "5dd58ce4c3e8ac8a816b6366038aee86024287b5d29f5fd2931d01142794dadd59ae181cfa9bc61494aff92e67b2aeb2\
         64ea220d070c3d21",
        [0.06236458, 0.06236458, -0.008909225, -0.08018303],
        0x51fc42b5,
    ),
    (
        DType::Iq2Xxs,
        "29af722b9ed978d518ab27d6ace5ac868e728ba76050470bc92753e13216efacffc87ef37f209f9e8d77f58174914949\
         be5fc4a6585e72ba5359b4cdd9e95139e025",
        [-12.628166, -2.3494263, -2.3494263, 12.628166],
        0x7712cc01,
    ),
    (
        DType::Iq2Xs,
        "d30d784c39a168cad0eefd4c2467b1cca0fba3684b539900afb0a33509dc34036d4dc710bf6aca0968bddeaedeffdb2b\
         d00363407a601e929be12176bb3e8f61ed3f2a5ae073e5c44bad",
        [0.007465124, -0.007465124, -0.040125042, 0.040125042],
        0xc3734972,
    ),
    (
        DType::Iq2S,
        "b8a60c4254a565fffd92798cace35db3936d6c4cbc66c8b2482ddee9dff1cb6f88920bd8131ac6b8e8aa5adb26737881\
         91f8760fcccc241dcfda654069fb3a4deb3c4c242a0b9760954987000680d2f0d488",
        [0.39367676, 2.1160126, -2.1160126, 0.39367676],
        0xbd7ee32c,
    ),
    (
        DType::Iq3Xxs,
        "0b8c972ff319f93ce80316f51cfbfca77d93ff8179233610437abdda4dea845938f0d287f749fab571395f9a85a8df9c\
         ff3f3e775e4ac1618e0ba36ef7114dc3f26c250f82123c2b8a741b32ee625823236978fece7ef657354589805ff68751\
         788a",
        [0.002220869, -0.005182028, 0.002220869, -0.005182028],
        0x86e8a904,
    ),
    (
        DType::Iq3S,
        "fda72b853307ae9e89b5606b62e6470ab43b24c45c228ada076195a6814956c278b38995895c736823e34344a3012fd7\
         715ecfeab4a2f0fbadde62ea471ea118183192a4f671f4caf37b06e0caa4e56bb47b0fc8099f7862a114ab1ed49db4f1\
         250ccfe3a196eb3e0f42cf6b159f",
        [-10.64064, 0.96733093, 4.8366547, -0.96733093],
        0x0ed8736a,
    ),
];

fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn blocks_stand_for_what_they_must() {
    assert_eq!(BLOCKS.len(), FORMATS.len());
    for (dtype, digits, first, sum) in BLOCKS {
        let values = Tensor::new(*dtype, &[dtype.block()], bytes(digits)).unwrap().to_f32();
        assert_eq!(values[..4], *first, "{dtype}");
        let all = values.iter().flat_map(|v| v.to_le_bytes());
        let fnv = all.fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        assert_eq!(fnv, *sum, "{dtype}");
    }
}

#[test]
fn every_block_format_is_in_the_table_once_and_names_are_those_of_files() {
    for dtype in DType::ALL {
        let there = FORMATS.iter().filter(|f| f.dtype == dtype).count();
        assert_eq!(there, usize::from(dtype.is_blocks()), "{dtype}");
        assert_eq!(DType::parse(dtype.name()), Some(dtype));
        assert!(dtype.ggml_type().is_none_or(|n| DType::from_ggml_type(n) == Some(dtype)));
    }
    assert_eq!(DType::from_ggml_type(4), None);
    #[cfg(feature = "json")]
    for dtype in DType::ALL {
        assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
    }
}

#[test]
fn what_cannot_be_made_says_so() {
    let say =
        |dtype, n| quantize(dtype, &Tensor::zeros(DType::F32, &[2, n]).unwrap()).unwrap_err().to_string();
    assert_eq!(say(DType::Iq1S, 256), "iq1_s: blocks of this type can be read, but not made");
    assert_eq!(say(DType::Q4K, 96), "q4_k: the last axis of [2, 96] must be a multiple of 256");
    let e = Tensor::from_f64(DType::Q4K, &[256], &[0.0; 256]).unwrap_err();
    assert_eq!(e.to_string(), "tensor: q4_k is made by `formats::quantize`");
}

/// Numbers that are about as weights are: a bell around 0.
fn weights(n: usize) -> Tensor {
    let mut rng = Rng::new(5);
    let values: Vec<f32> = (0..n).map(|_| (0..6).map(|_| rng.signed() as f32).sum::<f32>() * 0.02).collect();
    Tensor::from_f32(&[n], &values).unwrap()
}

/// √(Σ(x - y)² / Σx²).
fn relative(x: &Tensor, y: &Tensor) -> f64 {
    let (x, y) = (x.to_f64(), y.to_f64());
    let square = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>();
    (square(&mut x.iter().zip(&y).map(|(x, y)| x - y)) / square(&mut x.iter().copied())).sqrt()
}

#[test]
fn blocks_come_as_near_as_their_bits_allow() {
    let x = weights(256 * 64);
    for (dtype, most) in [
        (DType::F16, 0.0003),
        (DType::Bf16, 0.003),
        (DType::Q8_0, 0.006),
        (DType::Q6K, 0.02),
        (DType::Q5_1, 0.04),
        (DType::Q5_0, 0.05),
        (DType::Q5K, 0.04),
        (DType::Q4_1, 0.08),
        (DType::Q4K, 0.075),
        (DType::Iq4Nl, 0.08),
        (DType::Iq4Xs, 0.085),
        (DType::Q4_0, 0.1),
        (DType::Mxfp4, 0.13),
        (DType::Q3K, 0.16),
        (DType::Q2K, 0.33),
        (DType::Tq2_0, 0.9),
        (DType::Tq1_0, 0.9),
    ] {
        let error = relative(&x, &quantize(dtype, &x).unwrap());
        eprintln!("{dtype}: {error:.5}");
        assert!(error <= most && error > most / 3.0, "{dtype}: {error}");
    }
}

#[test]
fn blocks_of_one_number_and_of_extremes_are_made() {
    let largest = vec![f32::MAX; 256];
    let mixed: Vec<f32> = (0..256).map(|i| [f32::MAX, f32::MIN, 1e-45, 0.0, f32::NAN][i % 5]).collect();
    for format in FORMATS.iter().filter(|f| f.can_quantize()) {
        for values in [&vec![0.0; 256], &vec![1e-45; 256], &largest, &mixed] {
            quantize(format.dtype, &Tensor::from_f32(&[256], values).unwrap()).unwrap();
        }
        for v in [0.0, 0.5, -0.5] {
            let x = Tensor::from_f32(&[256], &[v; 256]).unwrap();
            let made = quantize(format.dtype, &x).unwrap().to_f32();
            assert!(
                made.iter().all(|m| (m - v).abs() <= 0.01 * v.abs()),
                "{}: {v} is {}",
                format.dtype,
                made[0]
            );
        }
    }
}

#[test]
fn rows_that_are_no_whole_blocks_get_smaller_ones_of_like_size() {
    for dtype in DType::ALL {
        assert_eq!(fallback(dtype, 512), dtype);
        let (narrow, least) = (fallback(dtype, 384), fallback(dtype, 33));
        assert!(narrow == dtype || (dtype.block() == 256 && narrow.block() == 32), "{dtype}");
        assert_eq!(least, if dtype.block() == 1 { dtype } else { DType::F16 }, "{dtype}");
    }
    assert_eq!(
        [DType::Q4K, DType::Iq4Xs, DType::Tq1_0].map(|d| fallback(d, 96)),
        [DType::Q5_0, DType::Iq4Nl, DType::Q4_0]
    );
}
