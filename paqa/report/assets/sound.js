"use strict";
/* Sound in the browser: FLAC to samples, background = mix - speech, WAV to be played, peaks and a mel spectrogram. */

const sound = (() => {
  const BANDS = 96, FLOOR_DB = 70, LOWEST_HZ = 50;

  function bytes(base64) {
    const text = atob(base64);
    const found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
    return found;
  }

  /* The sampling rate in STREAMINFO: decoding at any other would resample. */
  const rateOf = (flac) => (flac[18] << 12) | (flac[19] << 4) | (flac[20] >> 4);

  async function decode(base64) {
    const flac = bytes(base64);
    const rate = rateOf(flac);
    const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(flac.buffer);
    return { rate, channels: Array.from({ length: decoded.numberOfChannels }, (_, c) => decoded.getChannelData(c)) };
  }

  function minus(mix, speech) {
    const channels = mix.channels.map((samples, c) => samples.map((x, i) => x - (speech.channels[c][i] ?? 0)));
    return { rate: mix.rate, channels };
  }

  /* `{mix, speech, background}`, the stems null where the report has none. */
  async function stems(media) {
    const mix = await decode(media.mix);
    const speech = media.speech ? await decode(media.speech) : null;
    return { mix, speech, background: speech ? minus(mix, speech) : null };
  }

  function wav({ rate, channels }) {
    const width = channels.length, frames = channels[0].length;
    const view = new DataView(new ArrayBuffer(44 + 2 * width * frames));
    const write = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
    write(0, "RIFF"); view.setUint32(4, view.byteLength - 8, true); write(8, "WAVEfmt ");
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, width, true);
    view.setUint32(24, rate, true); view.setUint32(28, 2 * width * rate, true);
    view.setUint16(32, 2 * width, true); view.setUint16(34, 16, true);
    write(36, "data"); view.setUint32(40, 2 * width * frames, true);
    for (let i = 0, at = 44; i < frames; i++) {
      for (const samples of channels) {
        view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768))), true);
        at += 2;
      }
    }
    return new Blob([view], { type: "audio/wav" });
  }

  /* Lowest and highest sample of each of `columns` stretches. */
  function peaks({ channels }, columns) {
    const samples = channels[0], found = new Float32Array(2 * columns);
    for (let c = 0; c < columns; c++) {
      const from = Math.floor((c * samples.length) / columns), to = Math.max(from + 1, Math.floor(((c + 1) * samples.length) / columns));
      let low = 1, high = -1;
      for (let i = from; i < to; i++) {
        if (samples[i] < low) low = samples[i];
        if (samples[i] > high) high = samples[i];
      }
      found[2 * c] = low; found[2 * c + 1] = high;
    }
    return found;
  }

  /* In-place radix-2 FFT of `size` points; tables are made once. */
  function transform(size) {
    const cos = new Float32Array(size / 2), sin = new Float32Array(size / 2), order = new Uint16Array(size);
    for (let i = 0; i < size / 2; i++) { cos[i] = Math.cos((2 * Math.PI * i) / size); sin[i] = Math.sin((2 * Math.PI * i) / size); }
    for (let i = 1, j = 0; i < size; i++) {
      let bit = size >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      order[i] = (j ^= bit);
    }
    return (real, imaginary) => {
      for (let i = 0; i < size; i++) {
        const j = order[i];
        if (i < j) { const kept = real[i]; real[i] = real[j]; real[j] = kept; }
      }
      for (let half = 1; half < size; half *= 2) {
        const step = size / (2 * half);
        for (let start = 0; start < size; start += 2 * half) {
          for (let k = 0; k < half; k++) {
            const a = start + k, b = a + half, c = cos[k * step], s = sin[k * step];
            const re = real[b] * c + imaginary[b] * s, im = imaginary[b] * c - real[b] * s;
            real[b] = real[a] - re; imaginary[b] = imaginary[a] - im;
            real[a] += re; imaginary[a] += im;
          }
        }
      }
    };
  }

  const mel = (hz) => 2595 * Math.log10(1 + hz / 700);
  const hertz = (m) => 700 * (10 ** (m / 2595) - 1);

  /* Where a frequency lies on the mel axis, 0 (lowest) to 1. */
  const height = (hz, rate) => (mel(hz) - mel(LOWEST_HZ)) / (mel(rate / 2) - mel(LOWEST_HZ));

  /* Triangular filters as `[first bin, weights]`; of a band narrower than a bin, the bin nearest to it. */
  function filters(rate, size) {
    const low = mel(LOWEST_HZ), step = (mel(rate / 2) - low) / (BANDS + 1);
    return Array.from({ length: BANDS }, (_, band) => {
      const [a, b, c] = [0, 1, 2].map((n) => (hertz(low + (band + n) * step) * size) / rate);
      const first = Math.ceil(a), weights = [];
      for (let bin = first; bin < c && bin <= size / 2; bin++) weights.push(bin < b ? (bin - a) / (b - a) : (c - bin) / (c - b));
      return weights.some((w) => w > 0) ? [first, weights] : [Math.round(b), [1]];
    });
  }

  /* Log-mel energies in dB, `columns` frames of `BANDS`, and their maximum. */
  function spectrogram({ rate, channels }, columns) {
    const samples = channels[0], size = rate > 24000 ? 1024 : 512;
    const fft = transform(size), bank = filters(rate, size);
    const taper = Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
    const real = new Float32Array(size), imaginary = new Float32Array(size), power = new Float32Array(size / 2 + 1);
    const values = new Float32Array(columns * BANDS);
    let most = -200;
    for (let c = 0; c < columns; c++) {
      const from = Math.round(((c + 0.5) * samples.length) / columns - size / 2);
      for (let i = 0; i < size; i++) real[i] = (samples[from + i] ?? 0) * taper[i];
      imaginary.fill(0);
      fft(real, imaginary);
      for (let i = 0; i <= size / 2; i++) power[i] = real[i] * real[i] + imaginary[i] * imaginary[i];
      for (let band = 0; band < BANDS; band++) {
        const [first, weights] = bank[band];
        let sum = 1e-10;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * power[first + i];
        const db = 10 * Math.log10(sum);
        values[c * BANDS + band] = db;
        if (db > most) most = db;
      }
    }
    return { values, columns, most };
  }

  return { stems, wav, peaks, spectrogram, height, BANDS, FLOOR_DB };
})();
