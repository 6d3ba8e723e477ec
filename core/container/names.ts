import { randomInt } from 'node:crypto';
import { invalid } from '../contracts/errors.js';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Takes the leading slash away and checks the rest. */
export function checkName(name: string): string {
  const bare = name.startsWith('/') ? name.slice(1) : name;
  if (!NAME.test(bare)) throw invalid(`Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  return bare;
}

const MOODS =
  'able amber ample ardent balmy bold brave breezy bright brisk calm candid chatty cheery civil clever cosy crisp curious daring deft direct eager earnest fair festive fleet fond frank fresh frosty gentle glad golden grand handy happy hardy humble jolly keen kind lively loyal lucid lucky mellow merry mild modest neat nimble noble patient plucky polite proud quick quiet ready robust rosy rustic sage serene sharp silent sincere smooth snug sober steady stoic sturdy subtle sunny swift tender tidy tranquil upbeat vivid warm wise witty zesty'.split(
    ' ',
  );
const PEOPLE =
  'abel ampere archimedes avogadro babbage bayes bohr boole brahe cantor carson cauchy celsius cori coulomb curie dalton darwin dedekind descartes dirac einstein elion erdos euclid euler faraday fermat fermi fibonacci fourier franklin galileo galois gauss germain goodall hamilton hertz hilbert hooke hopper huygens hypatia jacobi joule kelvin kepler knuth kovalevskaya lagrange laplace lavoisier leibniz linnaeus lovelace mach maxwell meitner mendel mirzakhani mobius napier newton nobel noether ohm pascal pasteur pauli planck poincare ptolemy ramanujan riemann rontgen rutherford sagan sanger somerville tesla thales turing volta watt weyl wiles yalow'.split(
    ' ',
  );

/** A made-up name that `taken` does not know: two words, and a number once those begin to run out. */
export function randomName(taken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const words = `${MOODS[randomInt(MOODS.length)]}_${PEOPLE[randomInt(PEOPLE.length)]}`;
    const name = attempt < 6 ? words : `${words}${randomInt(10 ** Math.min(attempt - 5, 9))}`;
    if (!taken(name)) return name;
  }
}
