// Chromium's DTLS ClientHello comes in two shapes: post-quantum, too large for one datagram, and small. Both connect.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { join, launch, seesAndHears, visit } from './lib/browser.mjs';
import { watchHellos } from './lib/hellos.mjs';
import { startDev } from './lib/process.mjs';

let node;
before(async () => {
  node = await startDev();
});
after(async () => {
  await node?.stop();
});

/** The DTLS group that the page's connection agreed on, where Chromium tells. */
function transport(page) {
  return page.evaluate(async () => {
    const all = [...(await window.plenary.pc.getStats()).values()];
    const { dtlsState, dtlsCipher, srtpCipher, tlsVersion, tlsGroup } = all.find(({ type }) => type === 'transport');
    return { dtlsState, dtlsCipher, srtpCipher, tlsVersion, tlsGroup };
  });
}

// Which one is the default has changed between versions.
for (const [shape, args, datagrams] of [
  ['post-quantum, in two datagrams', ['--enable-features=WebRtcPqcForDtls'], 2],
  ['small, in one datagram', ['--disable-features=WebRtcPqcForDtls'], 1],
]) {
  test(`a ClientHello that is ${shape} connects`, async (t) => {
    const hellos = await watchHellos();
    const browser = await launch(args);
    try {
      const ada = await join(await visit(browser, node.url), 'Ada');
      const bob = await join(await visit(browser, node.url), 'Bob');
      await Promise.all([seesAndHears(ada, 'Ada', 10), seesAndHears(bob, 'Bob', 10)]);
      const agreed = await transport(ada);
      t.diagnostic(JSON.stringify(agreed));
      assert.equal(agreed.dtlsState, 'connected');
      const seen = await hellos.stop();
      t.diagnostic(`ClientHello fragments [offset, length, whole]: ${JSON.stringify(seen)}`);
      const offsets = new Set(seen.map(([offset]) => offset));
      assert.equal(offsets.size, datagrams, JSON.stringify(seen));
    } finally {
      await hellos.stop();
      await browser.close();
    }
  });
}
