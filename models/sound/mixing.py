"""Many channels to one, so that what any of them says is heard.

FFmpeg's own way to one channel, which both libraries' decoders take, adds channels by their places. Two
that are opposite cancel each other there, some places are left out (low frequencies, heights), and
without places there is no way. What is lost so is mixed here; all else goes FFmpeg's way.
"""

from typing import Any

_LOST = 1 / 50  # of the power of the loudest channel: what is left when it was cancelled or left out
_SILENT = 0.0005**2  # power of digital noise
_BESIDE = 1 / 1000  # of the power of the loudest channel: others as loud as that share the room with it
_OPPOSITE = -0.9  # correlation
_STEP = 8  # of so many samples one is enough to judge by


def audible(frame: Any) -> Any:
    """The frame itself if FFmpeg makes one channel of it without loss, else that channel, as floats.

    Args:
        frame: PyAV's, of some seconds: what is lost is judged over all of it.
    """
    count = frame.layout.nb_channels
    if count == 1:
        return frame
    channels = _channels(_converted(frame, "flt", frame.layout))
    powers = [_power(channel) for channel in channels]
    if count > 2 and frame.layout.name == f"{count} channels":  # nobody says where they are
        return _mixed(frame, channels, powers)
    powers = _without_low_frequencies(frame, powers)
    if max(powers) < _SILENT or _power_in_ffmpegs_way(frame, channels) > _LOST * max(powers):
        return frame
    return _mixed(frame, channels, powers)


def _mixed(frame: Any, channels: Any, powers: list[float]) -> Any:
    """The sum of the channels, opposite ones turned round, as loud as those that sound most allow."""
    import numpy as np

    loudest = max(range(len(powers)), key=powers.__getitem__)
    mix = np.zeros(frame.samples, np.float32)
    for channel, power in zip(channels, powers, strict=True):
        likeness = channel @ channels[loudest] / frame.samples
        opposite = likeness < _OPPOSITE * np.sqrt(power * powers[loudest])
        if power:
            mix += -channel if opposite else channel
    mix /= max(sum(power >= _BESIDE * powers[loudest] for power in powers), np.abs(mix).max(initial=0))
    return _frame(mix, frame.sample_rate, "mono")


def _power_in_ffmpegs_way(frame: Any, channels: Any) -> float:
    """0 where it knows none."""
    import av
    import numpy as np

    thin = channels[:, ::_STEP]
    packed = _frame(thin.T.reshape(-1), frame.sample_rate, frame.layout)
    try:
        mono = _converted(packed, "s16", "mono")  # integers, for which the weights add up to 1
    except av.FFmpegError:
        return 0.0
    return _power(np.frombuffer(mono.planes[0], np.int16)[: mono.samples].astype(np.float32) / 32768)


def _without_low_frequencies(frame: Any, powers: list[float]) -> list[float]:
    """Nobody speaks in the channel for them, unless it is the only one that sounds."""
    names = [channel.name for channel in frame.layout.channels]
    others = [0.0 if "LFE" in name else power for name, power in zip(names, powers, strict=True)]
    return others if max(others) > _SILENT else powers


def _power(samples: Any) -> float:
    return float(samples @ samples) / max(len(samples), 1)


def _channels(frame: Any) -> Any:
    """Those of floats in one plane, shape (channels, samples). PyAV miscounts planes beyond eight."""
    import numpy as np

    values = np.frombuffer(frame.planes[0], np.float32)[: frame.samples * frame.layout.nb_channels]
    return np.nan_to_num(values.reshape(frame.samples, -1).T, posinf=1.0, neginf=-1.0)


def _frame(samples: Any, rate: int, layout: Any) -> Any:
    """Of float32 of shape (samples * channels,)."""
    import av
    import numpy as np

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout=layout)
    frame.sample_rate = rate
    return frame


def _converted(frame: Any, format: str, layout: Any) -> Any:
    import av

    (converted,) = av.AudioResampler(format=format, layout=layout, rate=frame.sample_rate).resample(frame)
    return converted
