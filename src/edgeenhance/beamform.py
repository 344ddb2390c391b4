"""Beamformers, designed in NumPy (float64); the kernel applies them per hop.

`DelayAndSum`, `Superdirective` and `Mvdr` turn an array and a look direction into weights w : (F, M), used as
y = w^H x with w^H d = 1, where d : (F, M) is the steering vector relative to a reference microphone (d_ref = 1):
the talker in the look direction comes out as that microphone hears it. `noise_reference` is the beam with a null on
the talker. `design` makes all tables that the enhancer needs. Below that: what a beam does (directivity index,
white noise gain, beampattern).

F frequency bins, M microphones, T frames, A angles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .arrays import MicArray, direction, new_figure
from .profiles import Profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHITE_NOISE_GAIN_DB = -10.0  # a beam may amplify sensor noise and mismatch by 10 dB, not more
LOOK_STEP = 2.5  # degrees, see `turn`
_LOADING = (1e-2, 1e6)  # least and greatest diagonal loading, relative to the mean diagonal of 1
_NOISE_LOADING = 0.01  # white part of the field for which the noise reference has power 1
_TIE = 1e-6  # share of white noise that makes the principal eigenvector unique where symmetry does not


class Beamformer(Protocol):
    """What `design` needs of a beamformer: a name and weights."""

    name: str

    def weights(self, array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray: ...


@dataclass(frozen=True)
class DelayAndSum:
    """Align the talker in all microphones and average: w = d / (d^H d), the greatest white noise gain there is."""

    name = "delay-and-sum"

    def weights(self, array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray:
        """Weights (F, M) complex128 for look : degrees, freqs : (F,) Hz, reference : microphone."""
        d = relative_steering(array, look, freqs, reference)
        return d / np.sum(np.abs(d) ** 2, axis=1, keepdims=True)


@dataclass(frozen=True)
class Superdirective:
    """The beam that hears least of a diffuse field: w = A^-1 d / (d^H A^-1 d), A = Gamma + mu I.

    white_noise_gain_db : least white noise gain in dB relative to a single microphone. mu(f) is the smallest loading,
    from 0.01 up, that keeps it (Cox, Zeskind and Owen 1987, "Robust adaptive beamforming"; Bitzer and Simmer 2001,
    "Superdirective microphone arrays"). A limit above what delay-and-sum reaches yields delay-and-sum.
    """

    white_noise_gain_db: float = WHITE_NOISE_GAIN_DB
    name = "superdirective"

    def __post_init__(self) -> None:
        _check_range("white_noise_gain_db", self.white_noise_gain_db, -60, 60)

    def weights(self, array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray:
        """Weights (F, M) complex128 for look : degrees, freqs : (F,) Hz, reference : microphone."""
        d = relative_steering(array, look, freqs, reference)
        return distortionless(prior(array, look, freqs, reference, self.white_noise_gain_db), d)


@dataclass(frozen=True)
class Mvdr:
    """Adaptive: the superdirective beam's formula with the measured noise covariance in place of most of Gamma.

    time_constant : s, memory of the noise covariance · prior_weight : of the diffuse prior, > 0 (see `mvdr_weights`)
    solve_seconds : within which the weights of all bins are renewed, a share per hop
    white_noise_gain_db : as in `Superdirective`
    steering_blend : 0 .. 1, how far the steering vector goes from the array's towards the talker's transfer functions
    as heard: it makes up for heads that are no spheres, and for early reflections
    look_range : degrees to either side of the look direction within which the beam follows the talker that a mask
    network hears; 0, or without a network: it does not
    The online beam runs in the kernel; `weights` is where it starts, `batch_weights` what it would reach.
    """

    time_constant: float = 0.4
    prior_weight: float = 0.1
    solve_seconds: float = 0.032
    white_noise_gain_db: float = WHITE_NOISE_GAIN_DB
    steering_blend: float = 0.5
    look_range: float = 20.0
    name = "mvdr"

    def __post_init__(self) -> None:
        _check_range("time_constant", self.time_constant, 1e-3, 60)
        _check_range("prior_weight", self.prior_weight, 1e-6, 1e3)
        _check_range("solve_seconds", self.solve_seconds, 0, 60)
        _check_range("steering_blend", self.steering_blend, 0, 1)
        _check_range("look_range", self.look_range, 0, 16 * LOOK_STEP)
        _check_range("white_noise_gain_db", self.white_noise_gain_db, -60, 60)

    def solve_hops(self, profile: Profile) -> int:
        """Hops within which all weights are renewed, at least 1."""
        return max(1, round(self.solve_seconds * profile.sample_rate / profile.hop))

    @property
    def look_steps(self) -> int:
        """Steps of LOOK_STEP degrees to either side within which the talker is followed."""
        return int(self.look_range / LOOK_STEP)

    def weights(self, array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray:
        """The superdirective weights, (F, M) complex128: no noise has been heard yet."""
        return Superdirective(self.white_noise_gain_db).weights(array, look, freqs, reference)

    def batch_weights(
        self, noise_stft: np.ndarray, array: MicArray, look: float, freqs: np.ndarray, reference: int
    ) -> np.ndarray:
        """Weights (F, M) for a whole recording of the noise alone, noise_stft : (T, F, M) complex."""
        noise_stft = np.asarray(noise_stft)
        if noise_stft.ndim != 3 or noise_stft.shape[1:] != (len(freqs), array.mics):
            raise ValueError(f"noise_stft must be (frames, {len(freqs)}, {array.mics}), got {noise_stft.shape}")
        covariance = np.einsum("tfm,tfn->fmn", noise_stft, noise_stft.conj()) / max(len(noise_stft), 1)
        d = relative_steering(array, look, freqs, reference)
        field = prior(array, look, freqs, reference, self.white_noise_gain_db)
        return mvdr_weights(covariance, d, field, self.prior_weight)


@dataclass(frozen=True)
class ReferenceMicrophone:
    """No beam: the reference microphone as it is."""

    name = "none"

    def weights(self, array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray:
        """One at the reference microphone, zero elsewhere : (F, M) complex128."""
        return np.tile(np.eye(array.mics, dtype=complex)[reference], (len(freqs), 1))


BEAMFORMERS = {kind.name: kind for kind in (Mvdr, Superdirective, DelayAndSum, ReferenceMicrophone)}


def beamformer(name: str | Beamformer) -> Beamformer:
    """The beamformer of that name with its defaults, or the object itself; ValueError lists the names there are."""
    if not isinstance(name, str):
        if not (hasattr(name, "weights") and hasattr(name, "name")):
            raise TypeError(f"a beamformer is a name or an object such as Mvdr(), got {type(name).__name__}")
        return name
    if name not in BEAMFORMERS:
        raise ValueError(f"unknown beamformer {name!r}; choose one of {', '.join(BEAMFORMERS)}")
    return BEAMFORMERS[name]()


# ---- tables for the enhancer ----


@dataclass(frozen=True)
class BeamTables:
    """Everything the enhancer needs of a look direction; complex128, relative to ear 0's reference microphone.

    weights : (F, M) fixed beam, and where MVDR starts · noise : (F, M) noise reference, None without one
    sum : (F, M) delay-and-sum beam, None where there is no noise reference
    steering : (F, M) · ear : (F,) transfer from ear 0's reference microphone to ear 1's, None with one ear
    turn : (F, M) phases by which the steering changes LOOK_STEP degrees to the left
    prior : (F, M, M) loaded diffuse coherence · reference : ear 0's reference microphone
    """

    weights: np.ndarray
    noise: np.ndarray | None
    sum: np.ndarray | None
    steering: np.ndarray
    ear: np.ndarray | None
    turn: np.ndarray
    prior: np.ndarray
    reference: int


def design(array: MicArray, beam: str | Beamformer, look: float, profile: Profile, ears: tuple[str, ...]) -> BeamTables:
    """All tables of a beamformer (name or object) and a look direction (degrees).

    ears : names of one or two of the array's ears; the first is ear 0, which the tables are relative to.
    The second ear is the first one's output times `ear`: both have the same directivity, and the talker keeps the
    level and time differences between the two reference microphones.
    Raises ValueError for unknown beamformers and for ears that the array does not have.
    """
    chosen = beamformer(beam)
    freqs, references = profile.freqs, [array.ear(ear) for ear in ears]
    steering = relative_steering(array, look, freqs, references[0])
    limit = getattr(chosen, "white_noise_gain_db", WHITE_NOISE_GAIN_DB)
    has_noise = array.mics > 1 and chosen.name != "none"
    return BeamTables(
        weights=chosen.weights(array, look, freqs, references[0]),
        noise=noise_reference(array, look, freqs, references[0]) if has_noise else None,
        sum=DelayAndSum().weights(array, look, freqs, references[0]) if has_noise else None,
        steering=steering,
        ear=steering[:, references[1]] if len(references) > 1 else None,
        turn=turn(array, look, freqs, references[0]),
        prior=prior(array, look, freqs, references[0], limit),
        reference=references[0],
    )


def relative_steering(array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray:
    """Steering vector divided by its value at the reference microphone : (F, M) complex128, d_ref = 1."""
    if not 0 <= reference < array.mics:
        raise ValueError(f"reference microphone {reference} is not one of 0 to {array.mics - 1}")
    d = array.steering(look, freqs)
    return d / d[:, reference : reference + 1]


def turn(array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray:
    """Phases by which the relative steering vector changes LOOK_STEP degrees to the left of look : (F, M) complex128.

    From its slope within 1 degree, where even 8 kHz across a head turns by less than half a circle. Magnitudes stay: up
    to 20 degrees they matter little.
    """
    right, left = (relative_steering(array, look + side, freqs, reference) for side in (-1, 1))
    return np.exp(1j * np.angle(left * right.conj()) * LOOK_STEP / 2)


def prior(
    array: MicArray,
    look: float,
    freqs: np.ndarray,
    reference: int,
    white_noise_gain_db: float = WHITE_NOISE_GAIN_DB,
) -> np.ndarray:
    """Diffuse coherence plus mu(f) I : (F, M, M) complex128; see `Superdirective` for mu and the limit in dB."""
    coherence = array.diffuse_coherence(freqs)
    d = relative_steering(array, look, freqs, reference)
    loading = _loading(coherence, d, 10 ** (white_noise_gain_db / 10))
    return coherence + loading[:, None, None] * np.eye(array.mics)


def _loading(coherence: np.ndarray, d: np.ndarray, least_gain: float) -> np.ndarray:
    """Smallest mu : (F,) for which the superdirective beam's white noise gain is >= least_gain (a power ratio).

    With Gamma = Q L Q^H and b = |Q^H d|^2 that gain is (sum b / (L + mu))^2 / sum b / (L + mu)^2; it grows with
    mu, so bisection of log mu finds it, for all bins at once.
    """
    values, vectors = np.linalg.eigh(coherence)
    power = np.abs(np.einsum("fmk,fm->fk", vectors.conj(), d)) ** 2
    low, high = (np.full(len(d), np.log(bound)) for bound in _LOADING)
    for _ in range(50):
        middle = (low + high) / 2
        inverse = 1 / (np.maximum(values, 0) + np.exp(middle)[:, None])
        gain = np.sum(power * inverse, axis=1) ** 2 / np.sum(power * inverse**2, axis=1)
        kept = gain >= least_gain
        low, high = np.where(kept, low, middle), np.where(kept, middle, high)
    return np.exp(high)


def distortionless(matrix: np.ndarray, d: np.ndarray) -> np.ndarray:
    """w = A^-1 d / (d^H A^-1 d) : (F, M), for A : (F, M, M) Hermitian positive definite and d : (F, M)."""
    solved = np.linalg.solve(matrix, d[..., None])[..., 0]
    return solved / np.sum(d.conj() * solved, axis=1, keepdims=True).real


def mvdr_weights(covariance: np.ndarray, d: np.ndarray, prior: np.ndarray, prior_weight: float) -> np.ndarray:
    """MVDR weights (F, M), the float64 reference of the kernel's ee_mvdr_weights.

    A = R M / tr(R) + prior_weight * prior, w = A^-1 d / (d^H A^-1 d) (Capon 1969; the prior acts as the diagonal
    loading of Carlson 1988, towards the superdirective beam instead of delay-and-sum). Where R is zero only the prior
    remains. covariance, prior : (F, M, M) · d : (F, M) with d_ref = 1
    """
    trace = np.trace(covariance, axis1=1, axis2=2).real
    level = np.where(trace > 0, covariance.shape[1] / np.where(trace > 0, trace, 1), 0)
    return distortionless(covariance * level[:, None, None] + prior_weight * prior, d)


def noise_reference(array: MicArray, look: float, freqs: np.ndarray, reference: int) -> np.ndarray:
    """The beam b : (F, M) with a null on the talker, b^H d = 0, that hears most of a diffuse field.

    Principal eigenvector of P Gamma P with P = I - d d^H / (d^H d) (the blocking matrix of Griffiths and Jim 1982,
    reduced to its loudest output), scaled so that a diffuse field of power 1 at the reference microphone, plus 1 % of
    white noise, comes out with power 1; real and positive at the microphone that weighs most.
    Raises ValueError for one microphone.
    """
    if array.mics == 1:
        raise ValueError(f"array {array.name!r} has one microphone; a noise reference needs two or more")
    d = relative_steering(array, look, freqs, reference)
    eye = np.eye(array.mics)
    blocking = eye - d[:, :, None] * d[:, None, :].conj() / np.sum(np.abs(d) ** 2, axis=1)[:, None, None]
    coherence = array.diffuse_coherence(freqs)
    first_wins = 1 - 0.01 * np.arange(array.mics)  # symmetric arrays: no rounding error decides between equals
    b = np.linalg.eigh(blocking @ (coherence + _TIE * np.diag(first_wins)) @ blocking)[1][:, :, -1]
    b = np.einsum("fmn,fn->fm", blocking, b)  # once more: the eigenvector's rounding is the null's depth
    field = coherence / coherence[:, reference, reference].real[:, None, None] + _NOISE_LOADING * eye
    b /= np.sqrt(_power(b, field))[:, None]
    heaviest = np.take_along_axis(b, np.argmax(np.abs(b) * first_wins, axis=1)[:, None], axis=1)
    return b * (heaviest.conj() / np.abs(heaviest))


# ---- what a beam does ----


def directivity_index(
    w: np.ndarray, array: MicArray, look: float, freqs: np.ndarray, reference: int | None = None
) -> np.ndarray:
    """Power response in the look direction over the mean power response to all directions : (F,) dB.

    w : (F, M). reference : a microphone whose own directivity index is taken off, so that the rest is what the beam
    adds to it in diffuse noise; in open air a microphone has 0 dB, on the head what the head gives it.
    Source: Bitzer and Simmer 2001.
    """
    d = array.steering(look, freqs)
    covariance = array.diffuse_covariance(freqs)
    index = _db(np.abs(_respond(w, d)) ** 2 / _power(w, covariance))
    if reference is None:
        return index
    return index - _db(np.abs(d[:, reference]) ** 2 / covariance[:, reference, reference])


def white_noise_gain(w: np.ndarray, d: np.ndarray) -> np.ndarray:
    """|w^H d|^2 / (w^H w) : (F,) dB, by how much sensor noise falls against the talker; w, d : (F, M), d_ref = 1."""
    return _db(np.abs(_respond(w, d)) ** 2 / np.sum(np.abs(w) ** 2, axis=1))


def beampattern(
    w: np.ndarray, array: MicArray, freqs: np.ndarray, angles_deg: np.ndarray, reference: int | None = None
) -> np.ndarray:
    """Response to horizontal plane waves from angles_deg : (A,) azimuths. Returns (A, F) dB.

    w : (F, M). Relative to the free field at the array's origin, or to what microphone `reference` hears of the same
    wave: then a distortionless beam has 0 dB in its look direction.
    """
    responses = array.responses(direction(angles_deg), freqs)
    if reference is not None:
        responses = responses / responses[..., reference : reference + 1]
    return _db(np.abs(_respond(w, responses)) ** 2)


def plot_beampattern(
    w: np.ndarray, array: MicArray, look: float, freqs: np.ndarray, title: str | None = None
) -> Figure:
    """Polar patterns at four frequencies beside a map of azimuth and frequency; dB relative to the look direction.

    w : (F, M) for freqs : (F,) Hz. Returns a matplotlib Figure; needs the extra `eval`.
    """
    figure = new_figure(11, 5)
    figure.suptitle(title or f"{array.name}, look {look:g}°")
    angles = np.arange(-180, 181, 2.0)
    pattern = beampattern(w, array, freqs, angles) - beampattern(w, array, freqs, np.array([look]))
    left, right = figure.add_gridspec(1, 2, width_ratios=(1, 1.25))
    _draw_polar(figure.add_subplot(left, projection="polar"), angles, pattern, freqs)
    _draw_map(figure.add_subplot(right), angles, pattern, freqs, look)
    return figure


_PLOT_FREQS = (500, 1000, 2000, 4000)
_PLOT_RANGE_DB = (-30, 6)


def _draw_polar(axes: Any, angles: np.ndarray, pattern: np.ndarray, freqs: np.ndarray) -> None:
    """Front up, left on the left, as in `MicArray.plot`."""
    low, high = _PLOT_RANGE_DB
    for nominal, colour in zip(_PLOT_FREQS, ("#440154", "#31688e", "#35b779", "#e8a100"), strict=True):
        level = pattern[:, np.argmin(np.abs(np.asarray(freqs) - nominal))]
        axes.plot(np.radians(angles), np.clip(level, low, high), color=colour, label=_hertz(nominal))
    axes.set_theta_zero_location("N")
    axes.set(rlim=(low, high), rticks=range(low, high + 1, 6), rlabel_position=-157.5)
    axes.set_thetagrids(range(0, 360, 45), ["front", "45°", "left", "135°", "rear", "−135°", "right", "−45°"])
    axes.tick_params(axis="y", labelsize=8, labelcolor="0.4")
    axes.grid(color="0.88")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.22, 1.1), frameon=False)


def _draw_map(axes: Any, angles: np.ndarray, pattern: np.ndarray, freqs: np.ndarray, look: float) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    audible = np.asarray(freqs) >= 100
    low, high = _PLOT_RANGE_DB
    image = axes.pcolormesh(
        angles, np.asarray(freqs)[audible], pattern[:, audible].T, vmin=low, vmax=high, cmap="magma", shading="gouraud"
    )
    axes.axvline((look + 180) % 360 - 180, color="white", linestyle=":", linewidth=1.2)
    axes.set(yscale="log", xlim=(180, -180), xlabel="azimuth (°, left is positive)", ylabel="frequency (Hz)")
    axes.set_xticks(range(-180, 181, 45))
    axes.set_yticks([125, 250, 500, 1000, 2000, 4000, 8000])
    axes.set_ylim(np.asarray(freqs)[audible][[0, -1]])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.figure.colorbar(image, ax=axes, label="dB relative to the look direction", ticks=range(low, high + 1, 6))


def _hertz(value: float) -> str:
    return f"{value:g} Hz" if value < 1000 else f"{value / 1000:g} kHz"


def _respond(w: np.ndarray, d: np.ndarray) -> np.ndarray:
    """w^H d : (..., F) for w : (F, M) and d : (..., F, M)."""
    return np.sum(w.conj() * d, axis=-1)


def _power(w: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """w^H C w : (F,)."""
    return np.einsum("fm,fmn,fn->f", w.conj(), covariance, w).real


def _db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-30))


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in {low:g} to {high:g}, got {value}")
