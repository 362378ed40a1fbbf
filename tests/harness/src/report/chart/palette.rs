//! The colours of the ways, the same in all charts. Pure.
//!
//! Eight colours that can be told apart even with the common kinds of colour blindness, each with a contrast of at
//! least 3:1 to its background; a test computes both. From the fifth way on lines are also dashed, so that sixteen ways
//! differ.

use std::fmt::Write as _;

/// The backgrounds, light and dark: the same as on the status page.
pub(crate) const GROUND: (&str, &str) = ("#ffffff", "#14181c");

/// The colours on the light background and on the dark one.
pub(crate) const COLOURS: [(&str, &str); 8] = [
    ("#0d4be2", "#3a94ff"), // blue
    ("#b9871e", "#c3820b"), // gold
    ("#992c8f", "#d3b6ff"), // purple
    ("#2c9ea1", "#1ea8aa"), // teal
    ("#563300", "#ffbf00"), // brown, amber
    ("#378ffc", "#dcd7bb"), // sky, sand
    ("#571859", "#7158b8"), // plum
    ("#816442", "#696d68"), // taupe, grey
];

/// The dashes of the ways 1-4, 5-8, 9-12, 13-16: SVG's `stroke-dasharray`.
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

/// Returns the class of a way's group in a chart; it sets `--way` and `--dash`.
pub(crate) fn class(way: usize) -> String {
    format!("w{}", way % (COLOURS.len() * 2))
}

/// Returns the style sheet: the background and the colours by scheme, then the classes. Dark is only for screens: paper
/// is light.
pub(crate) fn css() -> String {
    let scheme = |pick: fn(&(&'static str, &'static str)) -> &'static str| {
        let mut text = format!("--ground: {};", pick(&GROUND));
        for (i, pair) in COLOURS.iter().enumerate() {
            // Writing to a `String` cannot fail.
            let _ = write!(text, " --c{i}: {};", pick(pair));
        }
        text
    };
    let mut css = format!(
        ":root {{ {} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {} }} }}\n",
        scheme(|pair| pair.0),
        scheme(|pair| pair.1)
    );
    for way in 0..COLOURS.len() * 2 {
        let dash = DASHES[way / 4 % DASHES.len()];
        let _ = writeln!(css, ".{} {{ --way: var(--c{}); --dash: {dash}; }}", class(way), way % COLOURS.len());
    }
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rgb = [f64; 3];
    type Matrix = [[f64; 3]; 3];

    /// The matrices by Machado, Oliveira and Fernandes 2009, full severity, on linear RGB: for sight without colour
    /// blindness, with protanopia, with deuteranopia.
    const SIGHT: [Matrix; 3] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152_286, 1.052_583, -0.204_868], [0.114_503, 0.786_281, 0.099_216], [-0.003_882, -0.048_116, 1.051_998]],
        [[0.367_322, 0.860_646, -0.227_968], [0.280_085, 0.672_501, 0.047_413], [-0.011_820, 0.042_940, 0.968_881]],
    ];

    fn linear(hex: &str) -> Rgb {
        [1, 3, 5].map(|at| {
            let part = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        })
    }

    fn times(matrix: &Matrix, value: Rgb) -> Rgb {
        matrix.map(|row| row.iter().zip(value).map(|(a, b)| a * b).sum())
    }

    /// Returns the contrast ratio of WCAG 2.2.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |hex| times(&[[0.2126, 0.7152, 0.0722]; 3], linear(hex))[0] + 0.05;
        let (a, b) = (luminance(a), luminance(b));
        a.max(b) / a.min(b)
    }

    /// Converts to Ottosson's Oklab, in which equal distances look about equally different.
    fn oklab(rgb: Rgb) -> Rgb {
        let cones = times(
            &[
                [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
                [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
                [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
            ],
            rgb.map(|part| part.max(0.0)),
        );
        times(
            &[
                [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
                [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
                [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
            ],
            cones.map(f64::cbrt),
        )
    }

    #[test]
    fn every_colour_stands_out_from_its_background() {
        for (light, dark) in COLOURS {
            assert!(contrast(light, GROUND.0) >= 3.0, "{light}: {}", contrast(light, GROUND.0));
            assert!(contrast(dark, GROUND.1) >= 3.0, "{dark}: {}", contrast(dark, GROUND.1));
        }
    }

    #[test]
    fn any_two_colours_differ_also_for_colour_blind_readers() {
        for pick in [|pair: &(&'static str, &'static str)| pair.0, |pair: &(&'static str, &'static str)| pair.1] {
            for sight in &SIGHT {
                let seen: Vec<Rgb> = COLOURS.iter().map(|pair| oklab(times(sight, linear(pick(pair))))).collect();
                for (i, a) in seen.iter().enumerate() {
                    for (j, b) in seen.iter().enumerate().skip(i + 1) {
                        let far = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                        assert!(far >= 0.12, "{} and {}: {far}", pick(&COLOURS[i]), pick(&COLOURS[j]));
                    }
                }
            }
        }
    }

    #[test]
    fn sixteen_ways_have_sixteen_looks() {
        let css = css();
        let looks: std::collections::BTreeSet<&str> =
            css.lines().filter_map(|line| line.split_once(" { --way").map(|(_, look)| look)).collect();
        assert_eq!(looks.len(), 16, "{css}");
        assert_eq!(class(3), class(19));
    }
}
