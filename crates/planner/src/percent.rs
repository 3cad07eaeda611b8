//! Numbers that may be percentages: maxSurge and maxUnavailable.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a fraction of a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Up, as for maxSurge.
    Up,
    /// Down, as for maxUnavailable.
    Down,
}

/// The number itself, or that percentage of `total`. Text that is no percentage counts as 0: validation keeps it out.
pub fn scaled(value: &IntOrString, total: i32, rounding: Rounding) -> i32 {
    let percent = match value {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => text.strip_suffix('%').and_then(|digits| digits.parse::<i64>().ok()).unwrap_or(0),
    };
    let hundredths = percent.saturating_mul(i64::from(total));
    let pods = match rounding {
        Rounding::Up => hundredths.saturating_add(99).div_euclid(100),
        Rounding::Down => hundredths.div_euclid(100),
    };
    i32::try_from(pods).unwrap_or(i32::MAX)
}

/// How far a rollout may go beyond and below the number of replicas, in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Pods above `replicas`.
    pub max_surge: i32,
    /// Pods below `replicas` that may be unavailable; never more than `replicas`.
    pub max_unavailable: i32,
}

impl Bounds {
    /// Resolves both; absent ones are 25 %. If both come to nothing, one pod may be unavailable, or nothing could move.
    pub fn resolve(max_surge: Option<&IntOrString>, max_unavailable: Option<&IntOrString>, replicas: i32) -> Self {
        let quarter = IntOrString::String("25%".to_owned());
        let max_surge = scaled(max_surge.unwrap_or(&quarter), replicas, Rounding::Up).max(0);
        let mut max_unavailable = scaled(max_unavailable.unwrap_or(&quarter), replicas, Rounding::Down).max(0);
        if max_surge == 0 && max_unavailable == 0 {
            max_unavailable = 1;
        }
        Self { max_surge, max_unavailable: max_unavailable.min(replicas.max(0)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn percent(value: i32) -> IntOrString {
        IntOrString::String(format!("{value}%"))
    }

    #[test]
    fn rounding_goes_towards_more_available_pods() {
        let cases =
            [(25, 10, 3, 2), (25, 4, 1, 1), (25, 3, 1, 0), (0, 10, 0, 0), (100, 7, 7, 7), (1, 1000, 10, 10), (150, 3, 5, 4)];
        for (value, total, up, down) in cases {
            assert_eq!(scaled(&percent(value), total, Rounding::Up), up, "{value}% of {total}");
            assert_eq!(scaled(&percent(value), total, Rounding::Down), down, "{value}% of {total}");
        }
    }

    #[test]
    fn both_zero_lets_one_pod_go() {
        let zero = IntOrString::Int(0);
        let bounds = Bounds::resolve(Some(&zero), Some(&percent(10)), 3);
        assert_eq!(bounds, Bounds { max_surge: 0, max_unavailable: 1 });
        let bounds = Bounds::resolve(Some(&zero), Some(&zero), 0);
        assert_eq!(bounds, Bounds { max_surge: 0, max_unavailable: 0 });
    }

    proptest! {
        #[test]
        fn bounds_let_a_rollout_move_and_stay_within_reason(
            surge in 0..=200i32, unavailable in 0..=100i32, replicas in 1..=5000i32, numbers: bool,
        ) {
            let wrap = |value: i32| if numbers { IntOrString::Int(value) } else { percent(value) };
            let bounds = Bounds::resolve(Some(&wrap(surge)), Some(&wrap(unavailable)), replicas);
            prop_assert!(bounds.max_surge + bounds.max_unavailable > 0);
            prop_assert!(bounds.max_unavailable <= replicas);
            if numbers {
                prop_assert_eq!(bounds.max_surge, surge);
            } else {
                let exact = f64::from(surge) * f64::from(replicas) / 100.0;
                prop_assert!(f64::from(bounds.max_surge) >= exact && f64::from(bounds.max_surge) < exact + 1.0);
                let exact = f64::from(unavailable) * f64::from(replicas) / 100.0;
                let down = f64::from(bounds.max_unavailable);
                // Rounded down, unless nothing could move: then one may go.
                prop_assert!((down <= exact && down > exact - 1.0) || (bounds.max_surge == 0 && exact < 1.0 && bounds.max_unavailable == 1));
            }
        }

        #[test]
        fn up_is_down_or_one_more(value in 0..=1000i32, total in 0..=100_000i32) {
            let (up, down) = (scaled(&percent(value), total, Rounding::Up), scaled(&percent(value), total, Rounding::Down));
            let whole = i64::from(value) * i64::from(total) % 100 == 0;
            prop_assert_eq!(up - down, i32::from(!whole));
        }
    }
}
