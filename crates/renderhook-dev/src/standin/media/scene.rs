//! What the clip and the picture show: a lit ball on its way through a gradient.
//!
//! A caller gets the pixels of any frame of a [`Scene`], row by row. Every frame is drawn from its number alone, so a
//! still needs no frames before it. Integers only: the same scene gives the same pixels on every machine.
//!
//! The background stands still, because a macroblock that does not change costs the clip next to nothing.

/// Pixels in a row, a multiple of 16: a clip is made of whole macroblocks.
pub(super) const WIDTH: u16 = 160;
/// Rows, a multiple of 16 likewise.
pub(super) const HEIGHT: u16 = 96;
/// Frames that the clip has.
pub(super) const FRAMES: u8 = 50;

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];

const BLACK: Rgb = [0; 3];
const WHITE: Rgb = [255; 3];
/// The ball's radius in pixels.
const RADIUS: i32 = 14;

/// The choices that a seed makes.
#[derive(Debug)]
pub(super) struct Scene {
    /// Every pixel without the ball.
    background: Vec<Rgb>,
    ball: Rgb,
    /// Where the ball starts, in pixels along the two unfolded paths.
    start: (i32, i32),
    /// Pixels that the ball moves a frame, never 0.
    step: (i32, i32),
}

impl Scene {
    /// The scene for one throw of eight dice.
    pub(super) fn new(dice: [u8; 8]) -> Self {
        let [near, turn, ball, x, y, dx, dy, _] = dice;
        let far = near.wrapping_add(24 + turn % 64);
        Self {
            background: gradient(mix(hue(near), BLACK, 2, 5), mix(hue(far), BLACK, 3, 4)),
            // The far side of the colour wheel, so that the ball stands out from every background.
            ball: hue(near.wrapping_add(112 + ball % 64)),
            start: (x.into(), y.into()),
            step: (2 + i32::from(dx % 2), 1 + i32::from(dy % 3)),
        }
    }

    /// The pixels of a frame from the upper left corner on, [`WIDTH`] a row.
    pub(super) fn draw(&self, frame: u8) -> Vec<Rgb> {
        let centre = self.centre(frame.into());
        let mut pixels = self.background.clone();
        for (y, row) in (0..).zip(pixels.chunks_exact_mut(WIDTH.into())) {
            for (x, pixel) in (0..).zip(row) {
                if (centre.0 - x).abs() < RADIUS && (centre.1 - y).abs() < RADIUS {
                    *pixel = self.lay_ball(*pixel, (x, y), centre);
                }
            }
        }
        pixels
    }

    fn centre(&self, frame: i32) -> (i32, i32) {
        let along = |start, step, side: u16| RADIUS + bounce(start + step * frame, i32::from(side) - 2 * RADIUS);
        (along(self.start.0, self.step.0, WIDTH), along(self.start.1, self.step.1, HEIGHT))
    }

    /// A pixel of the background with what of the ball covers it.
    fn lay_ball(&self, background: Rgb, at: (i32, i32), centre: (i32, i32)) -> Rgb {
        // The edge is one pixel wide: squared distances stand in for distances, which needs no root.
        const EDGE: i32 = RADIUS * RADIUS - (RADIUS - 1) * (RADIUS - 1);
        // Three times the squared distance from the light at which a point is no longer lit.
        const SHADE: i32 = 2 * RADIUS * RADIUS;
        let light = (centre.0 - RADIUS / 3, centre.1 - RADIUS / 3);
        let lit = (SHADE - 3 * squared_distance(at, light)).max(0);
        let covered = (RADIUS * RADIUS - squared_distance(at, centre)).clamp(0, EDGE);
        mix(background, mix(self.ball, WHITE, lit, SHADE), covered, EDGE)
    }
}

/// Every pixel of a background that goes from one colour in the upper left corner to another in the lower right.
fn gradient(from: Rgb, to: Rgb) -> Vec<Rgb> {
    let (width, height) = (i32::from(WIDTH), i32::from(HEIGHT));
    (0..height).flat_map(|y| (0..width).map(move |x| mix(from, to, x + y, width + height))).collect()
}

/// A point that walks `distance` to and fro between 0 and `room`.
fn bounce(distance: i32, room: i32) -> i32 {
    room - (distance.rem_euclid(2 * room) - room).abs()
}

fn squared_distance(a: (i32, i32), b: (i32, i32)) -> i32 {
    (a.0 - b.0).pow(2) + (a.1 - b.1).pow(2)
}

/// The colour that lies `part / whole` of the way from one to the other.
fn mix(from: Rgb, to: Rgb, part: i32, whole: i32) -> Rgb {
    std::array::from_fn(|channel| {
        let (from, to) = (i32::from(from[channel]), i32::from(to[channel]));
        byte(from + (to - from) * part / whole)
    })
}

/// A full colour of the wheel: red at 0, green at 85, blue at 171.
fn hue(angle: u8) -> Rgb {
    let channel = |angle: u8| byte((6 * i32::from(angle) - 768).abs() - 258);
    [channel(angle), channel(angle.wrapping_sub(85)), channel(angle.wrapping_add(85))]
}

/// The nearest value that a channel can hold.
pub(super) fn byte(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).expect("a value from 0 to 255 fits a byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ball_moves_in_every_frame() {
        for dice in [[0; 8], [255; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
            let scene = Scene::new(dice);
            let frames: Vec<_> = (0..FRAMES).map(|frame| scene.draw(frame)).collect();
            assert!(frames.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn a_frame_has_the_announced_number_of_pixels() {
        assert_eq!(Scene::new([3; 8]).draw(0).len(), usize::from(WIDTH) * usize::from(HEIGHT));
    }

    #[test]
    fn a_bounce_turns_round_at_both_ends() {
        let path: Vec<_> = (0..9).map(|distance| bounce(distance, 3)).collect();
        assert_eq!(path, [0, 1, 2, 3, 2, 1, 0, 1, 2]);
    }

    #[test]
    fn the_wheel_passes_through_the_primaries() {
        assert_eq!([hue(0), hue(85), hue(171)], [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
    }
}
