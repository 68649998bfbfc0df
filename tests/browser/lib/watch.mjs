// Looks at a web client's slots frame by frame: whose picture lies under which name, and how long each one stood still.

/** Starts to look. `colours` maps names to [red, green, blue]. */
export function watch(page, colours) {
  return page.evaluate((colours) => {
    const seen = { frames: 0, wrong: [], gaps: {}, changes: 0 };
    /** As a time that all pages of a machine share. */
    const at = (time) => performance.timeOrigin + time;
    const paint = new OffscreenCanvas(48, 27).getContext('2d', { willReadFrequently: true });

    const nearest = ([red, green, blue]) => {
      const distance = ([r, g, b]) => (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
      return Object.keys(colours).reduce((best, name) => (distance(colours[name]) < distance(colours[best]) ? name : best));
    };
    /** The label of the tile that lies exactly over a video. */
    const labelOver = (video) => {
      const at = video.getBoundingClientRect();
      if (at.width === 0 || getComputedStyle(video).visibility === 'hidden') return undefined;
      const over = [...document.querySelectorAll('[data-testid=tile]')].find((tile) => {
        const rect = tile.getBoundingClientRect();
        return Math.abs(rect.left - at.left) < 2 && Math.abs(rect.top - at.top) < 2 && Math.abs(rect.width - at.width) < 4;
      });
      return over?.querySelector('[data-testid=label]')?.textContent.trim();
    };

    for (const video of document.querySelectorAll('video[data-slot-mid]')) {
      const mid = video.dataset.slotMid;
      let before;
      let whose;
      let last;
      const copy = document.querySelector(`[data-copy-of="${mid}"]`);
      /** What the slot shows: the video, or a copy of it while someone else's is about to come. */
      const picture = () => (getComputedStyle(copy).visibility === 'hidden' ? video : copy);
      const look = (now, frame) => {
        video.requestVideoFrameCallback(look);
        // The client moves names and pictures in this very frame: look when it has.
        requestAnimationFrame(() => {
          const label = labelOver(video);
          paint.drawImage(picture(), 0, 0, 48, 27);
          const [red, green, blue] = paint.getImageData(24, 10, 1, 1).data;
          // The mark of a publisher moves with each frame.
          const mark = paint.getImageData(0, 25, 48, 1).data.join();
          if (mark !== last) {
            if (before !== undefined) (seen.gaps[mid] ??= []).push({ from: at(before), to: at(now) });
            before = now;
          }
          last = mark;
          const name = nearest([red, green, blue]);
          if (whose !== undefined && whose !== name) seen.changes += 1;
          whose = name;
          seen.frames += 1;
          if (label !== name) {
            // With the slot as the client knows it: whether the announcement or the client was late.
            const slot = window.plenary.debug().slots.find((slot) => slot.mid === mid);
            seen.wrong.push({ label: label ?? null, name, pixel: [red, green, blue].join(' '), at: Math.round(now), rtp: frame.rtpTimestamp, slot });
          }
        });
      };
      video.requestVideoFrameCallback(look);
    }
    window.seen = seen;
  }, colours);
}

/** What was seen so far. */
export const seen = (page) => page.evaluate(() => window.seen);
