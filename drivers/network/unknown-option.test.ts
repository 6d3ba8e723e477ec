import { expect, it } from 'vitest';
import { unknownOption } from './unknown-option.js';

const known = ['com.docker.network.driver.mtu', 'com.docker.network.bridge.enable_icc', 'encrypted'];

it.each([
  ['mtu', 'com.docker.network.driver.mtu'],
  ['bridge.enable_ick', 'com.docker.network.bridge.enable_icc'],
  ['encrypt', 'encrypted'],
])('an option of networks that is written %j is told as %s', (written, meant) => {
  expect(unknownOption('bridge', written, known)).toMatchObject({
    kind: 'invalid-parameter',
    message: `unknown option of the bridge driver: ${written}; the nearest is ${meant}`,
  });
});
