"""The chain in NumPy, float64, whole signals at once: what csrc/enhancer.c computes, to be read and to compare with.

F frequency bins, M microphones, T hops, B bands. The noise covariance of the adaptive beam is a recursive mean weighted
by speech absence (Souden, Chen, Affes and Benesty 2011), with a diffuse prior in the loading. The talker's transfer
functions are one step of the power method from the beam through the covariance of speech, and its direction is where
delay-and-sum lets most of that covariance through.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .bands import band_matrix
from .beamform import BeamTables, Mvdr, mvdr_weights
from .profiles import Profile
from .stft import istft_reference, stft_reference

BEAM_SECONDS = 0.018  # time constant of new weights
LOUDEST = 8.0  # times its level, as which a hop counts at most in the noise covariance
SPEECH_SECONDS = 1.0  # memory of the talker's covariance
SPEECH_START = 0.1  # share of the noise's power with which it starts
METER_SECONDS = 0.05  # of the band powers behind the presence estimate
TRACK_HZ = (300, 5000)  # bins that tell the direction
TRY_SECONDS = 0.004  # per direction
NOISE_SHARE = 0.5  # of the noise covariance, taken off the talker's
LEAN = 6e-4  # times turns squared: what a direction far off must be better by
LOOK_BEYOND = 2  # turns outside the range that are compared, too


def enhance_reference(
    x: np.ndarray,
    tables: BeamTables,
    profile: Profile,
    centers: np.ndarray,
    *,
    mvdr: Mvdr | None = None,
    gains: np.ndarray | None = None,
) -> np.ndarray:
    """One ear's signal at full strength : (n,), `synthesis - hop` samples late.

    x : (n, M), n a multiple of the hop, no silent hops, no bursts, no quiet · tables : of `beamform.design`
    mvdr : adapt with these settings, or None for the fixed beam
    gains : (T, B), 0..1, of a mask network, or None for the beam alone
    """
    X = np.stack([stft_reference(channel, profile) for channel in x.T], axis=-1)
    T = band_matrix(centers, profile.bins)
    if mvdr is None:
        Y = np.einsum("fm,tfm->tf", tables.weights.conj(), X)
    else:
        Y = _adaptive_beam(X, tables, profile, T, mvdr, gains)
    return istft_reference(Y if gains is None else Y * (gains @ T), profile)


def _adaptive_beam(
    X: np.ndarray, tables: BeamTables, profile: Profile, T: np.ndarray, mvdr: Mvdr, gains: np.ndarray | None
) -> np.ndarray:
    """Y : (T, F). Hop t uses the covariances of hop t - 1; R starts as the prior, S as d d^H."""
    goal, used = tables.weights.copy(), tables.weights.copy()
    memories = (mvdr.time_constant, SPEECH_SECONDS, BEAM_SECONDS)
    forget, forget_speech, fade = (1 - np.exp(-profile.hop / profile.sample_rate / seconds) for seconds in memories)
    look = _Look(tables, mvdr.look_steps if gains is not None else 0, profile)
    presence = None if gains is not None else _presence(tables, profile, T)
    solve, R, S, Y = _Solver(tables, mvdr, profile, look), None, None, []
    for hop, x in enumerate(X):
        if R is not None:
            solve(R, S, goal)
            used += fade * (goal - used)
        y = np.sum(used.conj() * x, axis=1)
        Y.append(y)
        if R is None:
            R = tables.prior * np.mean(np.abs(x) ** 2, axis=1)[:, None, None]
            start = SPEECH_START * np.trace(R, axis1=1, axis2=2).real / x.shape[1]
            S = _outer(tables.steering) * start[:, None, None]
        heard = gains[hop] if gains is not None else presence(x, y)
        known, power = np.trace(R, axis1=1, axis2=2).real, np.sum(np.abs(x) ** 2, axis=1)
        rate = forget * (1 - T.T @ heard) ** 4 * np.minimum(1, LOUDEST * known / power)
        R = R + rate[:, None, None] * (_outer(x) - R)
        S = S + forget_speech * ((T.T @ heard) ** 2)[:, None, None] * (_outer(x) - S)
        look.follow(S, R)
    return np.array(Y)


def _outer(x: np.ndarray) -> np.ndarray:
    """x x^H per bin : (F, M) -> (F, M, M)."""
    return x[:, :, None] * x[:, None, :].conj()


def blend_steering(d: np.ndarray, S: np.ndarray, w: np.ndarray, blend: float, reference: int) -> np.ndarray:
    """Steering `blend` of the way from d to h = S w / (S w)_ref, whose distance counts as at most |d_m| : (F, M).

    d : (F, M), 1 at the reference · S : (F, M, M) covariance of the talker · w : (F, M) the beam so far
    """
    heard = np.einsum("fmn,fn->fm", S, w)
    away = heard / heard[:, reference : reference + 1] - d
    return d + blend * away * np.minimum(1, np.abs(d) / np.maximum(np.abs(away), 1e-30))


class _Look:
    """Where the talker is followed to; phases : (F, M) from tables designed for the look direction to there."""

    def __init__(self, tables: BeamTables, steps: int, profile: Profile) -> None:
        self.tables, self.steps, self.turned, self.at = tables, steps, 0, 0
        reach = steps + LOOK_BEYOND
        self.turns = np.array([*range(reach + 1), *range(-1, -reach - 1, -1)])
        self.scores = np.zeros(len(self.turns))
        self.per_hop = max(1, round(profile.hop / profile.sample_rate / TRY_SECONDS))
        first, last = (hz * profile.analysis // profile.sample_rate for hz in TRACK_HZ)
        self.part = slice(first, min(last, profile.bins))

    @property
    def phases(self) -> np.ndarray:
        return self.tables.turn**self.turned

    def follow(self, S: np.ndarray, R: np.ndarray) -> None:
        """One hop: look at one or a few directions; after all of them, one turn towards the best."""
        for _ in range(self.per_hop if self.steps else 0):
            d = (self.tables.steering * self.tables.turn ** self.turns[self.at])[self.part]
            talker, field = S[self.part], (S - NOISE_SHARE * R)[self.part]
            let_through = np.einsum("fm,fmn,fn->f", d.conj(), field, d).real / np.sum(np.abs(d) ** 2, axis=1)
            self.scores[self.at] = np.mean(let_through / np.trace(talker, axis1=1, axis2=2).real)
            self.at = (self.at + 1) % len(self.turns)
            if self.at == 0:
                best = self.turns[np.argmax(self.scores - LEAN * self.turns**2)]
                if abs(best) < self.turns.max():  # else somebody speaks elsewhere
                    self.turned = int(np.clip(self.turned + np.sign(best - self.turned), -self.steps, self.steps))


class _Solver:
    """Renews a share of the bins' weights per call."""

    def __init__(self, tables: BeamTables, mvdr: Mvdr, profile: Profile, look: _Look) -> None:
        self.tables, self.mvdr, self.bins, self.look = tables, mvdr, profile.bins, look
        self.hops, self.at = mvdr.solve_hops(profile), 0

    def __call__(self, R: np.ndarray, S: np.ndarray, goal: np.ndarray) -> None:
        part = slice(*(hop * self.bins // self.hops for hop in (self.at, self.at + 1)))
        d, prior = (self.tables.steering * self.look.phases)[part], self.tables.prior[part]
        d = blend_steering(d, S[part], goal[part], self.mvdr.steering_blend, self.tables.reference)
        goal[part] = mvdr_weights(R[part], d, prior, self.mvdr.prior_weight)
        self.at = (self.at + 1) % self.hops


def _presence(tables: BeamTables, profile: Profile, T: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Speech presence per band from the beams themselves: 1 - noise reference / beam, smoothed powers, not below 0."""
    meter = 1 - np.exp(-profile.hop / profile.sample_rate / METER_SECONDS)
    powers = np.zeros((2, len(T)))

    def update(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u = np.sum(tables.noise.conj() * x, axis=1)
        for row, spectrum in enumerate((y, u)):
            powers[row] += meter * (T @ np.abs(spectrum) ** 2 / T.sum(1) - powers[row])
        return np.maximum(0, 1 - powers[1] / powers[0])

    return update
