// Looks at a web client's screen frame by frame: whose picture lies under which name, and how long each slot stood still.

/** Starts to look. `colours` maps names to [red, green, blue]. */
export function watch(page, colours) {
  return page.evaluate((colours) => {
    const seen = { frames: 0, right: 0, wrong: [], wrongTwice: 0, gaps: {}, changes: 0 };
    const paint = new OffscreenCanvas(8, 8).getContext('2d', { willReadFrequently: true });

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
      let wasWrong = false;
      const look = (now, frame) => {
        video.requestVideoFrameCallback(look);
        paint.drawImage(video, 0, 0, 8, 8);
        const [red, green, blue] = paint.getImageData(3, 2, 1, 1).data;
        if (before !== undefined) (seen.gaps[mid] ??= []).push(now - before);
        before = now;
        // The client moves names and pictures in this very frame: look when it has.
        requestAnimationFrame(() => {
          const label = labelOver(video);
          const name = nearest([red, green, blue]);
          if (whose !== undefined && whose !== name) seen.changes += 1;
          whose = name;
          seen.frames += 1;
          if (label === name) seen.right += 1;
          else {
            // With the slot as the client knows it: whether the announcement or the client was late.
            const slot = window.plenary.debug().slots.find((slot) => slot.mid === mid);
            seen.wrong.push({ label: label ?? null, name, pixel: [red, green, blue].join(' '), at: Math.round(now), rtp: frame.rtpTimestamp, slot });
            if (wasWrong) seen.wrongTwice += 1;
          }
          wasWrong = label !== name;
        });
      };
      video.requestVideoFrameCallback(look);
    }
    window.seen = seen;
  }, colours);
}

/** What was seen so far. */
export const seen = (page) => page.evaluate(() => window.seen);
